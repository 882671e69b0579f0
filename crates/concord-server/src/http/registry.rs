//! The service registry.

use concord_core::ids::LeaseId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::App;
use super::body::{self, Json};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::hold::{self, LeaseOfBody, LeaseOfParams, NoIdempotencyKey, PathInstance, PathName};
use super::query::{NoQuery, Query};
use super::record::ValueBody;
use super::value::{Format, value_of};
use crate::recipes::Instance;

/// An instance to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterBody {
    /// What others see of it, such as its address: a string is text, anything else a document.
    #[schema(value_type = Object)]
    value: Box<RawValue>,
    /// What the value is kept as, if not so.
    #[serde(default)]
    format: Option<Format>,
    /// How long it is found without being kept alive: whole seconds, or a text such as "30s"; 10 s if missing.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
    /// A lease of the caller's to live by, instead of one that is made for it. Registered by it already, only the
    /// value is changed.
    #[serde(default)]
    lease: Option<u64>,
}

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceBody<'a> {
    /// Its name among the instances of the service.
    instance: &'a str,
    /// What it says about itself.
    #[schema(value_type = Object)]
    value: ValueBody<'a>,
    /// What that is: `document`, `text` or `binary`.
    format: &'static str,
    /// The lease that it lives by.
    lease: u64,
    /// Its fencing token: greater than that of every earlier instance of this name.
    token: u64,
}

impl<'a> InstanceBody<'a> {
    fn new(instance: &'a Instance) -> Self {
        Self {
            instance: &instance.instance,
            value: ValueBody::new(&instance.value),
            format: instance.value.format().name(),
            lease: instance.lease.get(),
            token: instance.token.get(),
        }
    }
}

/// A registration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegisteredBody {
    /// The service.
    service: String,
    /// The instance.
    instance: String,
    /// Its fencing token: greater than that of every earlier instance of this name.
    token: u64,
    /// The lease that it lives by. To be kept alive, and named to deregister.
    lease: u64,
    /// Milliseconds that the lease lives from each time that it is kept alive.
    ttl_ms: u64,
    /// When it ends unless it is kept alive: milliseconds since the Unix epoch, by the cluster's clock.
    expires_at: u64,
}

/// Registers an instance, in place of one of the same name: its process has been started again.
#[utoipa::path(
    put, path = "/api/v1/services/{service}/instances/{instance}", tag = "services",
    params(
        ("service" = String, Path, description = "The service, percent-encoded"),
        ("instance" = String, Path, description = "The instance, percent-encoded")),
    request_body = RegisterBody,
    responses(
        (status = 200, description = "It is found", body = super::answer::Ok<RegisteredBody>),
        WriteRefusals))]
pub(crate) async fn register(
    app: App,
    PathName(service): PathName,
    PathInstance(instance): PathInstance,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<RegisterBody>,
) -> ApiResult {
    let value = value_of(&body.value, body.format)?;
    let mut registry = app.concord.registry();
    let lease = body.lease.map(hold::lease_id).transpose()?;
    match (body.ttl, lease) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_request(
                "a lease that is named has a ttl already",
            ));
        }
        (Some(ttl), None) => registry = registry.ttl(body::ttl(&ttl)?),
        (None, _) => {}
    }
    let (lease, token) = registry.register_by(&service, &instance, value, lease).await?;
    registered(&app, service, instance, lease, token).await
}

async fn registered(
    app: &App,
    service: String,
    instance: String,
    lease: LeaseId,
    token: concord_core::ids::Revision,
) -> ApiResult {
    let info = app.concord.lease_info(lease).await?;
    let answer = RegisteredBody {
        service,
        instance,
        token: token.get(),
        lease: lease.get(),
        ttl_ms: u64::try_from(info.lease.ttl.as_millis()).unwrap_or(u64::MAX),
        expires_at: info.lease.expires_at.get(),
    };
    ok(answer, info.revision.max(token))
}

/// The heartbeat of an instance: it is found for its whole time again.
#[utoipa::path(
    post, path = "/api/v1/services/{service}/instances/{instance}/keep_alive", tag = "services",
    params(
        ("service" = String, Path, description = "The service, percent-encoded"),
        ("instance" = String, Path, description = "The instance, percent-encoded")),
    request_body = LeaseOfBody,
    responses(
        (status = 200, description = "It lives on", body = super::answer::Ok<RegisteredBody>),
        WriteRefusals))]
pub(crate) async fn keep_alive(
    app: App,
    PathName(service): PathName,
    PathInstance(instance): PathInstance,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<LeaseOfBody>,
) -> ApiResult {
    let lease = hold::lease_id(body.lease)?;
    let key = app.concord.registry().key(&service, &instance)?;
    let found = app.concord.get(&key).await?;
    // Replaced by its own successor, it must not think that it is found.
    let entry = found.as_ref().filter(|entry| entry.lease() == Some(lease));
    let token = entry.map(|entry| entry.create_revision());
    let token = token.ok_or_else(|| hold::not_held(&instance, lease))?;
    app.concord.lease_keep_alive(lease).await?;
    registered(&app, service, instance, lease, token).await
}

/// Removes an instance. Its lease ends with it if nothing else hangs on it.
#[utoipa::path(
    delete, path = "/api/v1/services/{service}/instances/{instance}", tag = "services",
    params(
        ("service" = String, Path, description = "The service, percent-encoded"),
        ("instance" = String, Path, description = "The instance, percent-encoded"),
        LeaseOfParams),
    responses(
        (status = 200, description = "It is not found any more", body = super::answer::Ok<hold::ReleasedBody>),
        WriteRefusals))]
pub(crate) async fn deregister(
    app: App,
    PathName(service): PathName,
    PathInstance(instance): PathInstance,
    Query(params, ..): Query<LeaseOfParams>,
    _: NoConditions,
    _: NoIdempotencyKey,
) -> ApiResult {
    let key = app.concord.registry().key(&service, &instance)?;
    hold::release(&app, &instance, &key.to_string(), params.lease).await
}

/// The instances of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstancesBody<'a> {
    /// In order of their names.
    instances: Vec<InstanceBody<'a>>,
}

impl<'a> InstancesBody<'a> {
    fn new(instances: &'a [Instance]) -> Self {
        Self {
            instances: instances.iter().map(InstanceBody::new).collect(),
        }
    }
}

/// The instances of a service that live.
#[utoipa::path(
    get, path = "/api/v1/services/{service}", tag = "services",
    params(("service" = String, Path, description = "The service, percent-encoded")),
    responses(
        (status = 200, description = "The instances; none of a service that nobody serves", body = super::answer::Ok<InstancesBody>),
        ReadRefusals))]
pub(crate) async fn instances(app: App, PathName(service): PathName, _: NoQuery) -> ApiResult {
    let instances = app.concord.registry().instances(service).await?;
    ok(InstancesBody::new(&instances), app.concord.revision())
}

/// Follows the instances of a service: a stream of `instances` events, each with all of them, and a `progress` event as
/// a sign of life.
#[utoipa::path(
    get, path = "/api/v1/services/{service}/observe", tag = "services",
    params(("service" = String, Path, description = "The service, percent-encoded")),
    responses(
        (status = 200, description = "Events, until the client is gone", body = InstancesBody, content_type = "text/event-stream"),
        ReadRefusals))]
pub(crate) async fn observe(app: App, PathName(service): PathName, _: NoQuery) -> ApiResult {
    let states = app.concord.registry().observe(service)?;
    let show =
        |instances: &Vec<Instance>| serde_json::to_vec(&InstancesBody::new(instances)).unwrap_or_default();
    Ok(hold::stream_of("instances", states, app.concord.revision(), show))
}

/// A service.
#[derive(Debug, Serialize, ToSchema)]
struct ServiceBody {
    /// Its name.
    service: String,
    /// How many instances it has.
    instances: usize,
}

/// Services.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServicesBody {
    /// In order of their names.
    services: Vec<ServiceBody>,
}

/// Which services.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ServicesParams {
    /// Only services whose names start with this; `ID#` those of a tenant.
    prefix: String,
}

/// The services that have instances.
#[utoipa::path(
    get, path = "/api/v1/services", tag = "services",
    params(ServicesParams),
    responses(
        (status = 200, description = "The services", body = super::answer::Ok<ServicesBody>),
        ReadRefusals))]
pub(crate) async fn services(app: App, Query(params, ..): Query<ServicesParams>) -> ApiResult {
    let found = app.concord.registry().services_named(&params.prefix).await?;
    let services = found
        .into_iter()
        .map(|(service, instances)| ServiceBody { service, instances })
        .collect();
    ok(ServicesBody { services }, app.concord.revision())
}
