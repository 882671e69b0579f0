//! All routes in one place, each with its documentation.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, put};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{KEYS, Shared};
use super::error::ApiError;
use super::watch::subscriptions;
use super::{
    access, audit, backup, bulk, cluster, console, docs, election, health, index, kv, lease, lock, metrics,
    queries, registry, restore, scan, settings, tenants, ttl, txn, watch,
};
use crate::config::HttpConfig;
use crate::error::ErrorKind;

/// The routes and the document that describes them, made from the same handlers.
pub(super) fn documented() -> (Router<Shared>, OpenApi) {
    OpenApiRouter::with_openapi(docs::Skeleton::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::api_health))
        .routes(routes!(health::api_ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(kv::put, kv::get, kv::delete))
        .routes(routes!(bulk::put_many))
        .routes(routes!(bulk::get_many))
        .routes(routes!(bulk::delete_many))
        .routes(routes!(bulk::touch_many))
        .routes(routes!(ttl::touch))
        .routes(routes!(ttl::increment))
        .routes(routes!(ttl::ttl))
        .routes(routes!(ttl::history))
        .routes(routes!(scan::scan))
        .routes(routes!(txn::txn))
        .routes(routes!(queries::query))
        .routes(routes!(index::create, index::list))
        .routes(routes!(index::show, index::drop_index))
        .routes(routes!(index::reindex))
        .routes(routes!(index::lookup))
        .routes(routes!(lease::grant, lease::list))
        .routes(routes!(lease::info, lease::revoke))
        .routes(routes!(lease::keep_alive))
        .routes(routes!(lock::list))
        .routes(routes!(lock::acquire, lock::show, lock::release))
        .routes(routes!(lock::keep_alive))
        .routes(routes!(election::list))
        .routes(routes!(
            election::campaign,
            election::proclaim,
            election::show,
            election::resign
        ))
        .routes(routes!(election::keep_alive))
        .routes(routes!(election::observe))
        .routes(routes!(registry::services))
        .routes(routes!(registry::instances))
        .routes(routes!(registry::observe))
        .routes(routes!(registry::register, registry::deregister))
        .routes(routes!(registry::keep_alive))
        .routes(routes!(watch::watch))
        .routes(routes!(watch::watches))
        .routes(routes!(subscriptions::create, subscriptions::list))
        .routes(routes!(subscriptions::info, subscriptions::delete))
        .routes(routes!(subscriptions::ack))
        .routes(routes!(subscriptions::reset))
        .routes(routes!(subscriptions::consume))
        .routes(routes!(cluster::status))
        .routes(routes!(cluster::members, cluster::add))
        .routes(routes!(cluster::promote))
        .routes(routes!(cluster::remove))
        .routes(routes!(cluster::replace))
        .routes(routes!(cluster::transfer))
        .routes(routes!(cluster::snapshot))
        .routes(routes!(cluster::compact))
        .routes(routes!(settings::settings, settings::configure))
        .merge(administration())
        .split_for_parts()
}

/// What is for whoever runs the cluster: records, backups, rights.
fn administration() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(audit::query))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(audit::status))
        .routes(routes!(backup::create, backup::list))
        .routes(routes!(backup::now))
        .routes(routes!(backup::clean_up))
        .routes(routes!(restore::receive, restore::progress))
        .routes(routes!(restore::restore))
        .routes(routes!(backup::fetch, backup::remove))
        .routes(routes!(backup::verify))
        .routes(routes!(access::create_token, access::tokens))
        .routes(routes!(access::token, access::revoke_token))
        .routes(routes!(access::rotate_token))
        .routes(routes!(access::grant_role, access::take_role))
        .routes(routes!(access::explain))
        .routes(routes!(access::create_role, access::roles))
        .routes(routes!(access::role, access::update_role, access::delete_role))
        .routes(routes!(access::set_acl, access::list_acls, access::delete_acl))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::show, tenants::update, tenants::remove))
        .routes(routes!(tenants::usage))
        .routes(routes!(tenants::export))
        .routes(routes!(access::whoami))
        .routes(routes!(access::can_i))
}

/// The whole router.
pub(super) fn build(common: Shared, config: &HttpConfig) -> Result<(Router, Table), serde_json::Error> {
    let (router, document) = documented();
    let table = table(&document);
    // `bulk` is a key like any other, for the methods that the bulk routes do not take.
    let mut router = router
        .route("/api/v1/kv/bulk", put(kv::put).get(kv::get).delete(kv::delete))
        .with_state(common)
        .merge(docs::routes(&document, config.docs)?);
    if config.console {
        router = router.merge(console::routes());
    }
    let router = router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method);
    Ok((router, table))
}

/// The routes, each with its methods.
pub(super) type Table = Vec<(String, Vec<&'static str>)>;

fn table(document: &OpenApi) -> Table {
    let routes = document.paths.paths.iter().map(|(route, item)| {
        let methods = [
            ("GET", item.get.is_some()),
            ("PUT", item.put.is_some()),
            ("POST", item.post.is_some()),
            ("DELETE", item.delete.is_some()),
            ("PATCH", item.patch.is_some()),
        ];
        let methods = methods.iter().filter(|(_, has)| *has).map(|(method, _)| *method);
        (route.clone(), methods.collect())
    });
    routes.collect()
}

/// A router for `/metrics` alone.
pub(super) fn only_metrics(app: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .with_state(app)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
}

async fn no_such_path(uri: Uri) -> ApiError {
    let path = uri.path();
    // The framework does not match an empty segment, so an empty key ends up here.
    let rest = path.strip_prefix(KEYS);
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return ApiError::new(ErrorKind::InvalidKey, "key is empty");
    }
    ApiError::new(ErrorKind::NotFound, format!("there is no such path: {path:.200}"))
        .with("path", path.to_owned())
}

async fn no_such_method(method: Method) -> ApiError {
    ApiError::new(
        ErrorKind::Unsupported,
        format!("method {method} is not known here"),
    )
    .status(StatusCode::METHOD_NOT_ALLOWED)
}
