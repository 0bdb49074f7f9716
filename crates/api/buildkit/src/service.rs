//! The service: connections, sessions and builds.

use std::sync::Arc;
use std::time::Duration;

use arca_build::Builder;
use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::ControlServer;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridgeServer;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::build::Builds;
use crate::content::Content;
use crate::control::{Control, Health};
use crate::gateway::Gateway;
use crate::history::History;
use crate::session::{Session, Sessions, WINDOW, WINDOWS, with_early};
use crate::uploads::Uploads;

/// Bytes of a message that is taken: definitions and files that front ends read.
const MESSAGE: usize = 16 << 20;
/// HTTP/2 pings on idle connections, and how long their answers may take.
const PING: Duration = Duration::from_secs(30);

/// What the services say about this engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The daemon's ID: the worker's name.
    pub id: String,
    /// Version that is told as BuildKit's.
    pub version: String,
    /// The address that `host-gateway` stands for, if there is one.
    pub host_gateway: Option<String>,
}

/// BuildKit's services for one builder. A cheap handle.
#[derive(Debug, Clone)]
pub struct BuildKit(pub(crate) Arc<Service>);

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) builder: Builder,
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) builds: Builds,
    pub(crate) uploads: Uploads,
    pub(crate) closing: CancellationToken,
}

/// What a client says of its session in the headers of `POST /session`.
#[derive(Debug, Clone, Default)]
pub struct SessionHeaders {
    /// `X-Docker-Expose-Session-Uuid`.
    pub id: String,
    /// `X-Docker-Expose-Session-Name`.
    pub name: String,
    /// `X-Docker-Expose-Session-Sharedkey`.
    pub shared_key: String,
    /// `X-Docker-Expose-Session-Grpc-Method`, each one.
    pub methods: Vec<String>,
}

impl BuildKit {
    /// The services of `builder`. `closing` ends them.
    #[must_use]
    pub fn new(builder: Builder, config: Config, closing: CancellationToken) -> Self {
        Self(Arc::new(Service {
            builds: Builds::new(History::new(builder.past_builds())),
            builder,
            config,
            sessions: Sessions::default(),
            uploads: Uploads::default(),
            closing,
        }))
    }

    /// Serves a client of `/grpc` on a connection that was taken over, until it is closed. `early` was read
    /// of it already.
    pub async fn serve(&self, connection: UnixStream, early: Vec<u8>) {
        let connection = with_early(early, connection);
        let control = ControlServer::new(Control(Arc::clone(&self.0)))
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(usize::MAX);
        let gateway = LlbBridgeServer::new(Gateway(Arc::clone(&self.0)))
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(usize::MAX);
        let router = tonic::service::Routes::new(control)
            .add_service(gateway)
            .add_service(Content::new(Arc::clone(&self.0)))
            .add_service(HealthServer::new(Health))
            .into_axum_router();
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a build client's connection ended");
                }
            }
            () = self.0.closing.cancelled() => {}
        }
    }

    /// Has the client of `/session` at hand for builds, until its connection is closed. `early` was read of
    /// it already.
    pub async fn session(&self, headers: SessionHeaders, connection: UnixStream, early: Vec<u8>) {
        match Session::connect(headers, with_early(early, connection)).await {
            Ok((session, ended)) => {
                let _guard = self.0.sessions.add(&session);
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = self.0.closing.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::warn!(error = %arca_types::chain(&error), "a build session was not opened");
            }
        }
    }
}
