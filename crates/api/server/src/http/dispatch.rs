//! From a request to its route: the version prefix, what Go's router does with paths, and the headers
//! of every reply.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri, header};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::connection::Client;
use super::raw::Rewriter;
use super::{ServerConfig, Socket, leftover, not_found_page};
use crate::compat::{API_VERSION, ApiVersion};

/// The router with what surrounds it; shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    /// What is answered while the engine is still being opened.
    early: Router,
    /// Everything; there once the engine is.
    router: Arc<SetOnce<Router>>,
    headers: Arc<[(HeaderName, HeaderValue)]>,
    requests: Arc<AtomicU64>,
    /// Told of each request.
    busy: Arc<Notify>,
}

impl Dispatch {
    pub(super) fn new(early: Router, config: &ServerConfig) -> Self {
        let server = format!("Docker/{} (linux)", config.version);
        let experimental = if config.experimental { "true" } else { "false" };
        let headers = [
            (
                HeaderName::from_static("api-version"),
                HeaderValue::from_static(API_VERSION),
            ),
            (
                HeaderName::from_static("docker-experimental"),
                HeaderValue::from_static(experimental),
            ),
            (
                HeaderName::from_static("ostype"),
                HeaderValue::from_static("linux"),
            ),
            (
                header::SERVER,
                HeaderValue::from_str(&server)
                    .unwrap_or_else(|_| HeaderValue::from_static("Docker (linux)")),
            ),
        ];
        Self {
            early,
            router: Arc::default(),
            headers: headers.into(),
            requests: Arc::default(),
            busy: Arc::default(),
        }
    }

    /// Lets requests through to `router`; a second call changes nothing.
    pub(super) fn open(&self, router: Router) {
        if self.router.set(router).is_err() {
            tracing::warn!("the API was opened already");
        }
    }

    /// The router for `path`; waits for the engine where it takes one.
    async fn router(&self, path: &str) -> Router {
        match self.router.get() {
            Some(router) => router.clone(),
            None if path == "/_ping" => self.early.clone(),
            None => self.router.wait().await.clone(),
        }
    }

    /// Waits for a request, and then until none has come for `pause`.
    pub(super) async fn quiet(&self, pause: Duration) {
        self.busy.notified().await;
        while tokio::time::timeout(pause, self.busy.notified())
            .await
            .is_ok()
        {}
    }

    /// The service of one connection.
    pub(super) fn for_client(
        &self,
        socket: Arc<Socket>,
        rewriter: Arc<Rewriter>,
        closing: &CancellationToken,
    ) -> ClientService {
        ClientService {
            dispatch: self.clone(),
            socket,
            rewriter,
            closing: closing.clone(),
        }
    }

    async fn route(self, mut request: Request<Body>) -> Response {
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.notify_one();
        let span = tracing::debug_span!(
            "request", request.id = id, method = %request.method(), path = request.uri().path()
        );
        let mut response = match prepare(&mut request) {
            Some(response) => response,
            None => {
                let router = self.router(request.uri().path()).await;
                match router.oneshot(request).instrument(span).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        // what the router adds where another method would be served, and dockerd's does not
        response.headers_mut().remove(header::ALLOW);
        for (name, value) in self.headers.iter() {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

/// Takes the version off the path and checks it; answers what needs no route.
fn prepare(request: &mut Request<Body>) -> Option<Response> {
    let path = request.uri().path();
    if let Some(clean) = cleaned(path) {
        let location = match request.uri().query() {
            Some(query) => format!("{clean}?{query}"),
            None => clean,
        };
        return Some(
            (
                StatusCode::MOVED_PERMANENTLY,
                [(header::LOCATION, location)],
            )
                .into_response(),
        );
    }
    let (version, rest) = ApiVersion::split(path);
    if rest.is_empty() {
        return Some(not_found_page());
    }
    let stripped = rest.len() < path.len();
    let target = routed(request.method(), rest, request.uri().query(), stripped);
    match target.map(|target| Uri::try_from(target.as_str())) {
        None => {}
        Some(Ok(uri)) => *request.uri_mut() = uri,
        Some(Err(_)) => return Some(not_found_page()),
    }
    match version {
        Ok(version) => {
            request.extensions_mut().insert(version);
        }
        Err(refusal) if request.method() == Method::OPTIONS => {
            return Some(refusal.into_response());
        }
        // refused by its route, if it has one
        Err(refusal) => {
            request.extensions_mut().insert(refusal);
        }
    }
    match *request.method() {
        Method::OPTIONS => Some(StatusCode::OK.into_response()),
        Method::HEAD if !has_head(request.uri().path()) => Some(not_found_page()),
        _ => None,
    }
}

fn has_head(path: &str) -> bool {
    path == "/_ping" || path.ends_with("/archive")
}

/// The target that routes match, where it is another than the client's: without version (which is said
/// by `stripped`), and with names that contain slashes made into one element.
fn routed(method: &Method, path: &str, query: Option<&str>, stripped: bool) -> Option<String> {
    let named = whole_name(method, path);
    if named.is_none() && !stripped {
        return None;
    }
    let mut target = named.unwrap_or_else(|| path.to_owned());
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Some(target)
}

/// The resource whose names are the whole rest of the path.
const NETWORKS: &str = "/networks/";

/// Containers have no slash in their names, but those that links give them: `parent/alias`.
const CONTAINERS: &str = "/containers/";

/// Names of images, plugins, networks and links may contain slashes: what stands between the resource and the
/// last element is the name, or all of it when it is removed or a network is inspected.
fn whole_name(method: &Method, path: &str) -> Option<String> {
    // Their routes have a slash behind the name.
    let deep = path.ends_with("/attach/ws") || path.contains("/checkpoints/");
    if deep && path.starts_with(CONTAINERS) {
        return None;
    }
    let resource = [
        "/images/",
        "/distribution/",
        "/plugins/",
        CONTAINERS,
        NETWORKS,
    ]
    .into_iter()
    .find(|resource| path.starts_with(resource))?;
    let rest = path.strip_prefix(resource)?;
    let (name, operation) = match *method {
        Method::DELETE => (rest, ""),
        Method::GET | Method::HEAD if resource == NETWORKS => (rest, ""),
        _ => rest.split_at(rest.rfind('/')?),
    };
    name.contains('/')
        .then(|| format!("{resource}{}{operation}", name.replace('/', "%2F")))
}

/// The path without empty, `.` and `..` elements, when it has some.
fn cleaned(path: &str) -> Option<String> {
    if !path.contains("//") && !path.contains("/.") {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean.len() > 1 {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

/// [`Dispatch`] for one client.
#[derive(Debug, Clone)]
pub(super) struct ClientService {
    dispatch: Dispatch,
    socket: Arc<Socket>,
    rewriter: Arc<Rewriter>,
    closing: CancellationToken,
}

impl Service<Request<Incoming>> for ClientService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let raw = self.rewriter.request();
        let over = Arc::new(Over(Arc::clone(&self.rewriter)));
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(Client {
            socket: Arc::clone(&self.socket),
            closing: self.closing.clone(),
            raw,
        });
        let (body, leftover) = leftover::watch(&parts.headers, incoming);
        let body = Body::new(Tracked {
            body,
            _over: Arc::clone(&over),
        });
        let routed = self
            .dispatch
            .clone()
            .route(Request::from_parts(parts, body));
        Box::pin(async move {
            let mut response = routed.await;
            if let Some(leftover) = leftover {
                response = leftover.settle(response).await;
            }
            Ok(response.map(|body| Body::new(Tracked { body, _over: over })))
        })
    }
}

/// Tells the connection that a request is over once both bodies are gone.
#[derive(Debug)]
struct Over(Arc<Rewriter>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// A body that holds on to its request.
struct Tracked<B> {
    body: B,
    _over: Arc<Over>,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_one_element() {
        let get = |path| whole_name(&Method::GET, path);
        assert_eq!(get("/images/a/json"), None);
        assert_eq!(
            get("/images/r:5000/a/b:c/json").as_deref(),
            Some("/images/r:5000%2Fa%2Fb:c/json")
        );
        let linked = get("/containers/a/b/json");
        assert_eq!(linked.as_deref(), Some("/containers/a%2Fb/json"));
        assert_eq!(get("/containers/a/json"), None);
        assert_eq!(get("/containers/a/attach/ws"), None);
        let checkpoint = "/containers/a/checkpoints/c";
        assert_eq!(whole_name(&Method::DELETE, checkpoint), None);
        assert_eq!(get("/networks/a/b").as_deref(), Some("/networks/a%2Fb"));
        let connect = whole_name(&Method::POST, "/networks/a/b/connect");
        assert_eq!(connect.as_deref(), Some("/networks/a%2Fb/connect"));
        assert_eq!(whole_name(&Method::POST, "/networks/create"), None);
        let delete = whole_name(&Method::DELETE, "/images/a/json");
        assert_eq!(delete.as_deref(), Some("/images/a%2Fjson"));
        let target = routed(&Method::GET, "/images/a/b/json", Some("x=1"), false);
        assert_eq!(target.as_deref(), Some("/images/a%2Fb/json?x=1"));
        assert_eq!(
            routed(&Method::GET, "/info", Some("x"), true).as_deref(),
            Some("/info?x")
        );
        assert_eq!(routed(&Method::GET, "/info", Some("x"), false), None);
    }

    #[test]
    fn paths_are_cleaned_as_gos_router_does() {
        assert_eq!(cleaned("/containers/json"), None);
        assert_eq!(
            cleaned("/containers//json").as_deref(),
            Some("/containers/json")
        );
        assert_eq!(cleaned("/a/./b/../c/").as_deref(), Some("/a/c/"));
        assert_eq!(cleaned("//").as_deref(), Some("/"));
        assert_eq!(cleaned("/volumes/.hidden"), None);
    }
}
