//! The table of all operations: the router is built from it, and so is the page of API coverage.

use axum::Router;

use crate::http::not_found_page;
use crate::{
    App, build, buildkit, containers, exec, images, networks, plugins, swarm, system, volumes,
};

/// How far an operation is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what dockerd's does.
    Full,
    /// It does, but for what is said.
    Partial(&'static str),
    /// It answers as a dockerd that is not in a swarm.
    NoSwarm,
    /// It answers as a dockerd without managed plugins.
    NoPlugins,
    /// It is refused with 501.
    Refused,
}

/// One operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// HTTP method.
    pub method: &'static str,
    /// Path without version; names in braces may contain slashes where images, plugins, networks and links are
    /// meant.
    pub path: &'static str,
    /// `operationId` of the API definition; empty for what it does not list.
    pub id: &'static str,
    /// How far it is supported.
    pub support: Support,
}

/// Makes the table of a resource, and the function that adds it to a router.
macro_rules! routes {
    ($($method:ident $path:literal $id:literal $handler:expr, $support:expr;)*) => {
        /// The operations of this resource.
        pub(crate) const OPERATIONS: &[$crate::Operation] = &[$(
            $crate::Operation { method: stringify!($method), path: $path, id: $id, support: $support },
        )*];

        /// Adds them to a router.
        pub(crate) fn add(router: ::axum::Router<$crate::App>) -> ::axum::Router<$crate::App> {
            router$(.route($path, {
                let route = ::axum::routing::on(::axum::routing::MethodFilter::$method, $handler);
                route.route_layer(::axum::middleware::from_fn($crate::compat::served))
            }))*
        }
    };
}
pub(crate) use routes;

/// Every operation, by resource.
#[must_use]
pub fn operations() -> Vec<Operation> {
    [
        containers::OPERATIONS,
        exec::OPERATIONS,
        images::OPERATIONS,
        build::OPERATIONS,
        buildkit::OPERATIONS,
        networks::OPERATIONS,
        volumes::OPERATIONS,
        system::OPERATIONS,
        swarm::OPERATIONS,
        plugins::OPERATIONS,
    ]
    .concat()
}

pub(crate) fn router() -> Router<App> {
    let add = [
        containers::add,
        exec::add,
        images::add,
        build::add,
        buildkit::add,
        networks::add,
        volumes::add,
        system::add,
        swarm::add,
        plugins::add,
    ];
    add.into_iter()
        .fold(Router::new(), |router, add| add(router))
        .fallback(async || not_found_page())
        .method_not_allowed_fallback(async || not_found_page())
}
