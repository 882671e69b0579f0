//! Tokens, roles, ACLs, and who may do what.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::App;
use super::body::{self, Json};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::hold::{PathInstance, PathName};
use super::once::Once;
use super::query::{NoQuery, Query};
use crate::access::{Because, IssuedToken, Pattern, Permission, Permissions, RoleInfo, TokenId, TokenInfo};
use crate::audit::date_of;

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTokenBody {
    /// What it is called; no two tokens have one name.
    #[serde(default)]
    name: Option<String>,
    /// The roles it has.
    #[serde(default)]
    roles: Vec<String>,
    /// What it allows by itself, at every key: some of `read`, `write`, `delete`, `admin`, or `*`.
    #[serde(default)]
    permissions: Vec<String>,
    /// How long it is good: whole seconds, or a text such as "30d"; null or missing: until it is revoked.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
}

/// For how long the old secret stays good.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// Whole seconds, or a text such as "1h"; null or missing: not any more.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    grace: Option<Box<RawValue>>,
}

/// A token that was made just now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IssuedBody<'a> {
    /// The secret, which is shown this once.
    token: &'a str,
    /// Its public name.
    id: String,
    /// When it ends: milliseconds since the Unix epoch, by the cluster's clock; null: when it is revoked.
    expires_at: Option<u64>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenBody {
    /// Its public name.
    id: String,
    /// The name that it was given.
    name: Option<String>,
    /// When it was made: milliseconds since the Unix epoch, by the cluster's clock.
    created_at: u64,
    /// When it ends.
    expires_at: Option<u64>,
    /// The last day (UTC) on which it was shown, such as `2026-11-22`; known a few seconds later.
    last_used: Option<String>,
    /// What it allows by itself.
    permissions: Vec<&'static str>,
    /// The roles it has.
    roles: Vec<String>,
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokensBody {
    /// In the order of their ids.
    tokens: Vec<TokenBody>,
    /// `after` of the next page; null: this was the last.
    next: Option<String>,
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoleBody {
    /// What it is called.
    role: String,
    /// What it allows at most.
    permissions: Vec<&'static str>,
    /// The only keys that it is about, if there are any.
    acls: Vec<AclBody>,
    /// Whether it always exists and stays as it is.
    builtin: bool,
}

/// An ACL of a role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AclBody {
    /// The keys: `*` is any run of characters, everything else is as it is.
    pattern: String,
    /// What is allowed there at most.
    permissions: Vec<&'static str>,
}

/// Roles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolesBody {
    /// Those that always exist first, then by name.
    roles: Vec<RoleBody>,
    /// `after` of the next page; null: this was the last.
    next: Option<String>,
}

/// A role to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRoleBody {
    /// What it is called.
    role: String,
    /// What it allows: some of `read`, `write`, `delete`, `admin`, or `*`.
    permissions: Vec<String>,
}

/// What a role is to allow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateRoleBody {
    /// Some of `read`, `write`, `delete`, `admin`, or `*`.
    permissions: Vec<String>,
}

/// An ACL to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetAclBody {
    /// Of which role.
    role: String,
    /// For which keys: `*` is any run of characters, everything else is as it is.
    pattern: String,
    /// What is allowed there at most.
    permissions: Vec<String>,
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AfterParams {
    /// Go on behind this one.
    pub(super) after: Option<String>,
}

/// Which ACL.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AclParams {
    /// The role.
    role: String,
    /// The pattern.
    pattern: String,
}

/// Whose ACLs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RoleParams {
    /// The role.
    role: String,
}

/// Which key.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyParams {
    /// The key.
    key: String,
}

/// What, and where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CanIParams {
    /// `read`, `write`, `delete` or `admin`.
    action: String,
    /// The key.
    key: String,
}

/// Something was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedBody {
    /// Always true.
    changed: bool,
}

impl ChangedBody {
    pub(super) const fn new() -> Self {
        Self { changed: true }
    }
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoamiBody {
    /// In words.
    principal: String,
    /// The token, if there is one.
    token: Option<TokenBody>,
    /// The tenant that it belongs to, if it belongs to one.
    tenant: Option<String>,
    /// What the caller may do at every key, and in the cluster.
    everywhere: Vec<&'static str>,
}

/// Whether the caller may.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CanIBody {
    /// It may.
    allowed: bool,
}

/// Why a token may do what it may do at a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccessBody {
    /// What it may do there.
    permissions: Vec<&'static str>,
    /// What gives it, and what gives nothing there.
    because: Vec<BecauseBody>,
}

/// One source of permissions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BecauseBody {
    /// `token`: by itself; `role`: one without ACLs; `acl`: one of a role that matches; `no_acl`: a role of which none does;
    /// `removed`: a role that does not exist any more.
    source: &'static str,
    /// The role, unless it is the token itself.
    role: Option<String>,
    /// The pattern that matches.
    pattern: Option<String>,
    /// What that gives at this key.
    permissions: Vec<&'static str>,
}

/// A request that is not remembered by a name: one that was asked again is refused or does the same.
#[derive(Debug)]
pub(crate) struct NoIdempotencyKey;

impl<S: Sync> FromRequestParts<S> for NoIdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let why = "changes of the policy take no idempotency key: give the token or the role a name";
        Once::refuse(parts, why).await.map(|()| Self)
    }
}

/// The length of time in a field, if it has one.
fn length(raw: Option<&RawValue>) -> ApiResult<Option<Duration>> {
    let raw = raw.filter(|raw| raw.get() != "null");
    raw.map(body::ttl).transpose()
}

fn names(permissions: Permissions) -> Vec<&'static str> {
    permissions.iter().map(Permission::name).collect()
}

/// Reads names of permissions.
fn permissions(names: &[String]) -> ApiResult<Permissions> {
    names.iter().try_fold(Permissions::NONE, |sum, name| {
        let one = match name.as_str() {
            "*" => Permissions::ALL,
            name => Permissions::of(&[permission(name)?]),
        };
        Ok(sum.union(one))
    })
}

fn permission(name: &str) -> ApiResult<Permission> {
    Permission::named(name).ok_or_else(|| {
        ApiError::invalid_request(format!(
            "a permission is read, write, delete or admin, not `{name:.40}`"
        ))
    })
}

impl TokenBody {
    fn new(token: &TokenInfo) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.as_ref().map(ToString::to_string),
            created_at: token.created_at.get(),
            expires_at: token.expires_at.map(concord_core::Timestamp::get),
            last_used: token.last_used_day.map(date_of),
            permissions: names(token.permissions),
            roles: token.roles.iter().map(ToString::to_string).collect(),
        }
    }
}

impl RoleBody {
    fn new(role: &RoleInfo) -> Self {
        Self {
            role: role.name.to_string(),
            permissions: names(role.permissions),
            acls: acls(role),
            builtin: role.is_builtin,
        }
    }
}

fn acls(role: &RoleInfo) -> Vec<AclBody> {
    let shown = role.acls.iter().map(|(pattern, permissions)| AclBody {
        pattern: pattern.to_string(),
        permissions: names(*permissions),
    });
    shown.collect()
}

impl BecauseBody {
    fn new(because: &Because) -> Self {
        let of = |source, role: Option<&dyn ToString>, pattern: Option<&Pattern>| Self {
            source,
            role: role.map(ToString::to_string),
            pattern: pattern.map(ToString::to_string),
            permissions: names(because.permissions()),
        };
        match because {
            Because::Token { .. } => of("token", None, None),
            Because::Role { role, .. } => of("role", Some(role), None),
            Because::Acl { role, pattern, .. } => of("acl", Some(role), Some(pattern)),
            Because::NoAcl { role } => of("no_acl", Some(role), None),
            Because::Removed { role } => of("removed", Some(role), None),
        }
    }
}

fn issued(app: &App, token: &IssuedToken) -> ApiResult {
    let body = IssuedBody {
        token: token.secret.expose(),
        id: token.id.to_string(),
        expires_at: token.expires_at.map(concord_core::Timestamp::get),
    };
    ok(body, app.concord.revision())
}

fn changed(app: &App) -> ApiResult {
    ok(ChangedBody::new(), app.concord.revision())
}

/// Makes a token. The answer has its secret, which cannot be had again.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "access",
    request_body = CreateTokenBody,
    responses(
        (status = 200, description = "It is good", body = super::answer::Ok<IssuedBody>),
        WriteRefusals))]
pub(crate) async fn create_token(
    app: App,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<CreateTokenBody>,
) -> ApiResult {
    let mut create = app
        .concord
        .create_token()
        .permissions(permissions(&body.permissions)?);
    if let Some(name) = body.name {
        create = create.name(name);
    }
    if let Some(ttl) = length(body.ttl.as_deref())? {
        create = create.ttl(ttl);
    }
    let create = body
        .roles
        .into_iter()
        .fold(create, |create, role| create.role(role));
    issued(&app, &create.await?)
}

/// Tokens, without their secrets.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "access",
    params(AfterParams),
    responses(
        (status = 200, description = "Up to 1,000 tokens", body = super::answer::Ok<TokensBody>),
        ReadRefusals))]
pub(crate) async fn tokens(app: App, Query(params, _, _): Query<AfterParams>) -> ApiResult {
    let after = params.after.as_deref().map(TokenId::parse).transpose();
    let after = after.map_err(|error| ApiError::invalid_request(error.to_string()))?;
    let tokens = app.concord.tokens(after).await?;
    let body = TokensBody {
        next: next_of(&tokens, |token| token.id.to_string()),
        tokens: tokens.iter().map(TokenBody::new).collect(),
    };
    ok(body, app.concord.revision())
}

/// Where a list goes on that fills its page.
pub(super) fn next_of<T>(page: &[T], name: impl Fn(&T) -> String) -> Option<String> {
    let is_full = page.len() >= concord_auth::policy::PAGE_MAX;
    page.last().filter(|_| is_full).map(name)
}

/// A token by its id or name.
#[utoipa::path(
    get, path = "/api/v1/tokens/{token}", tag = "access",
    params(("token" = String, Path, description = "Its id or name")),
    responses(
        (status = 200, description = "The token, without its secret", body = super::answer::Ok<TokenBody>),
        ReadRefusals))]
pub(crate) async fn token(app: App, PathName(token): PathName, _: NoQuery) -> ApiResult {
    let token = app.concord.token(&token).await?;
    ok(TokenBody::new(&token), app.concord.revision())
}

/// Ends a token for good.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}", tag = "access",
    params(("token" = String, Path, description = "Its id or name")),
    responses(
        (status = 200, description = "It is no token any more", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn revoke_token(
    app: App,
    PathName(token): PathName,
    _: NoQuery,
    _: NoConditions,
) -> ApiResult {
    app.concord.revoke_token(&token).await?;
    changed(&app)
}

/// Gives a token another secret.
#[utoipa::path(
    post, path = "/api/v1/tokens/{token}/rotate", tag = "access",
    params(("token" = String, Path, description = "Its id or name")),
    request_body = RotateBody,
    responses(
        (status = 200, description = "The new secret", body = super::answer::Ok<IssuedBody>),
        WriteRefusals))]
pub(crate) async fn rotate_token(
    app: App,
    PathName(token): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<RotateBody>,
) -> ApiResult {
    let grace = length(body.grace.as_deref())?.unwrap_or(Duration::ZERO);
    issued(&app, &app.concord.rotate_token(&token, grace).await?)
}

/// Gives a token a role.
#[utoipa::path(
    put, path = "/api/v1/tokens/{token}/roles/{role}", tag = "access",
    params(
        ("token" = String, Path, description = "Its id or name"),
        ("role" = String, Path, description = "The role")),
    responses(
        (status = 200, description = "It has it", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn grant_role(
    app: App,
    PathName(token): PathName,
    PathInstance(role): PathInstance,
    _: NoQuery,
    _: NoConditions,
) -> ApiResult {
    app.concord.grant_role(&token, &role).await?;
    changed(&app)
}

/// Takes a role from a token.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}/roles/{role}", tag = "access",
    params(
        ("token" = String, Path, description = "Its id or name"),
        ("role" = String, Path, description = "The role")),
    responses(
        (status = 200, description = "It does not have it", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn take_role(
    app: App,
    PathName(token): PathName,
    PathInstance(role): PathInstance,
    _: NoQuery,
    _: NoConditions,
) -> ApiResult {
    app.concord.take_role(&token, &role).await?;
    changed(&app)
}

/// Why a token may do what it may do at a key.
#[utoipa::path(
    get, path = "/api/v1/tokens/{token}/access", tag = "access",
    params(("token" = String, Path, description = "Its id or name"), KeyParams),
    responses(
        (status = 200, description = "The roles and ACLs that decide", body = super::answer::Ok<AccessBody>),
        ReadRefusals))]
pub(crate) async fn explain(
    app: App,
    PathName(token): PathName,
    Query(params, _, _): Query<KeyParams>,
) -> ApiResult {
    let explained = app.concord.explain_access(&token, &params.key).await?;
    let body = AccessBody {
        permissions: names(explained.permissions),
        because: explained.because.iter().map(BecauseBody::new).collect(),
    };
    ok(body, app.concord.revision())
}

/// Makes a role, which holds at every key until it has an ACL.
#[utoipa::path(
    post, path = "/api/v1/roles", tag = "access",
    request_body = CreateRoleBody,
    responses(
        (status = 200, description = "It exists", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn create_role(
    app: App,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<CreateRoleBody>,
) -> ApiResult {
    let allowed = permissions(&body.permissions)?;
    app.concord.create_role(&body.role, allowed).await?;
    changed(&app)
}

/// Roles with their ACLs.
#[utoipa::path(
    get, path = "/api/v1/roles", tag = "access",
    params(AfterParams),
    responses(
        (status = 200, description = "Up to 1,000 roles, and those that always exist", body = super::answer::Ok<RolesBody>),
        ReadRefusals))]
pub(crate) async fn roles(app: App, Query(params, _, _): Query<AfterParams>) -> ApiResult {
    let roles = app.concord.roles(params.after.as_deref()).await?;
    let body = RolesBody {
        next: next_of(&roles, |role| role.name.to_string()),
        roles: roles.iter().map(RoleBody::new).collect(),
    };
    ok(body, app.concord.revision())
}

/// A role with its ACLs.
#[utoipa::path(
    get, path = "/api/v1/roles/{role}", tag = "access",
    params(("role" = String, Path, description = "The role")),
    responses(
        (status = 200, description = "The role", body = super::answer::Ok<RoleBody>),
        ReadRefusals))]
pub(crate) async fn role(app: App, PathName(role): PathName, _: NoQuery) -> ApiResult {
    let role = app.concord.role(&role).await?;
    ok(RoleBody::new(&role), app.concord.revision())
}

/// Changes what a role allows, for all who have it.
#[utoipa::path(
    put, path = "/api/v1/roles/{role}", tag = "access",
    params(("role" = String, Path, description = "The role")),
    request_body = UpdateRoleBody,
    responses(
        (status = 200, description = "It allows that", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn update_role(
    app: App,
    PathName(role): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<UpdateRoleBody>,
) -> ApiResult {
    let allowed = permissions(&body.permissions)?;
    app.concord.update_role(&role, allowed).await?;
    changed(&app)
}

/// Removes a role with its ACLs, from all who have it.
#[utoipa::path(
    delete, path = "/api/v1/roles/{role}", tag = "access",
    params(("role" = String, Path, description = "The role")),
    responses(
        (status = 200, description = "It does not exist", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn delete_role(
    app: App,
    PathName(role): PathName,
    _: NoQuery,
    _: NoConditions,
) -> ApiResult {
    app.concord.delete_role(&role).await?;
    changed(&app)
}

/// Lets a role hold where a pattern matches, with these permissions at most.
#[utoipa::path(
    put, path = "/api/v1/acls", tag = "access",
    request_body = SetAclBody,
    responses(
        (status = 200, description = "It holds there", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn set_acl(
    app: App,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<SetAclBody>,
) -> ApiResult {
    let allowed = permissions(&body.permissions)?;
    app.concord.set_acl(&body.role, &body.pattern, allowed).await?;
    changed(&app)
}

/// ACLs of a role.
#[utoipa::path(
    get, path = "/api/v1/acls", tag = "access",
    params(RoleParams),
    responses(
        (status = 200, description = "In the order of their patterns", body = super::answer::Ok<Vec<AclBody>>),
        ReadRefusals))]
pub(crate) async fn list_acls(app: App, Query(params, _, _): Query<RoleParams>) -> ApiResult {
    let role = app.concord.role(&params.role).await?;
    ok(acls(&role), app.concord.revision())
}

/// Removes an ACL of a role, unless it is the last.
#[utoipa::path(
    delete, path = "/api/v1/acls", tag = "access",
    params(AclParams),
    responses(
        (status = 200, description = "It does not exist", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn delete_acl(
    app: App,
    Query(params, _, _): Query<AclParams>,
    _: NoConditions,
) -> ApiResult {
    app.concord.delete_acl(&params.role, &params.pattern).await?;
    changed(&app)
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/api/v1/whoami", tag = "access",
    responses(
        (status = 200, description = "The caller", body = super::answer::Ok<WhoamiBody>),
        ReadRefusals))]
pub(crate) async fn whoami(app: App, _: NoQuery) -> ApiResult {
    let found = app.concord.whoami().await?;
    let body = WhoamiBody {
        principal: found.principal,
        token: found.token.as_ref().map(TokenBody::new),
        tenant: found.tenant,
        everywhere: names(found.everywhere),
    };
    ok(body, app.concord.revision())
}

/// Whether the caller has a permission at a key.
#[utoipa::path(
    get, path = "/api/v1/can-i", tag = "access",
    params(CanIParams),
    responses(
        (status = 200, description = "Yes or no", body = super::answer::Ok<CanIBody>),
        ReadRefusals))]
pub(crate) async fn can_i(app: App, Query(params, _, _): Query<CanIParams>) -> ApiResult {
    let allowed = app
        .concord
        .can_i(permission(&params.action)?, &params.key)
        .await?;
    ok(CanIBody { allowed }, app.concord.revision())
}
