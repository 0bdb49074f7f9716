//! `moby.buildkit.v1.Control`: the calls of a client that has something built.

pub(crate) mod solve;
mod usage;
mod workers;

pub(crate) use solve::inputs;
pub(crate) use workers::record as worker;

use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::Health as HealthService;
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard_buildkit_proto::moby::buildkit::v1::control_server::Control as ControlService;
use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::history::{self, Caller, Told};
use crate::service::Service;
use crate::{api, convert};

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Debug)]
pub(crate) struct Control(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl ControlService for Control {
    async fn disk_usage(
        &self,
        request: Request<api::DiskUsageRequest>,
    ) -> Result<Response<api::DiskUsageResponse>, Status> {
        let usage = usage::usage(&self.0, &request.into_inner()).await?;
        Ok(Response::new(usage))
    }

    type PruneStream = Answers<api::UsageRecord>;

    async fn prune(
        &self,
        request: Request<api::PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        let pruned = usage::prune(&self.0, request.into_inner()).await?;
        let pruned = stream::iter(pruned.into_iter().map(Ok));
        Ok(Response::new(pruned.boxed()))
    }

    async fn solve(
        &self,
        request: Request<api::SolveRequest>,
    ) -> Result<Response<api::SolveResponse>, Status> {
        let service = Arc::clone(&self.0);
        let traceparent = request.metadata().get("traceparent");
        let traceparent = traceparent.and_then(|text| text.to_str().ok());
        let caller = traceparent.and_then(Caller::read);
        solve::solve(service, request.into_inner(), None, caller)
            .await
            .map(Response::new)
    }

    type StatusStream = Answers<api::StatusResponse>;

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        let id = request.into_inner().r#ref;
        let progress = match self.0.builds.told(&id).await? {
            Told::Live(progress) => progress,
            Told::Kept => {
                let told = history::told(&self.0.builder, &id).await?;
                return Ok(Response::new(
                    stream::iter(told.into_iter().map(Ok)).boxed(),
                ));
            }
        };
        let told = stream::unfold(progress.subscribe(), async |mut subscription| {
            let events = subscription.next().await?;
            let mut response = api::StatusResponse::default();
            for event in &events {
                convert::add(&mut response, event);
            }
            Some((Ok(response), subscription))
        });
        Ok(Response::new(told.boxed()))
    }

    type SessionStream = Answers<api::BytesMessage>;

    /// Sessions within `/grpc`: clients of a Docker engine use `/session`.
    async fn session(
        &self,
        _: Request<Streaming<api::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented(
            "sessions are opened with POST /session",
        ))
    }

    async fn list_workers(
        &self,
        _: Request<api::ListWorkersRequest>,
    ) -> Result<Response<api::ListWorkersResponse>, Status> {
        Ok(Response::new(api::ListWorkersResponse {
            record: vec![workers::record(&self.0)],
        }))
    }

    async fn info(
        &self,
        _: Request<api::InfoRequest>,
    ) -> Result<Response<api::InfoResponse>, Status> {
        Ok(Response::new(api::InfoResponse {
            buildkit_version: Some(workers::version(&self.0)),
        }))
    }

    type ListenBuildHistoryStream = Answers<api::BuildHistoryEvent>;

    async fn listen_build_history(
        &self,
        request: Request<api::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let request = request.into_inner();
        Ok(Response::new(
            self.0
                .builds
                .history
                .listen(request, self.0.builder.now())?
                .boxed(),
        ))
    }

    async fn update_build_history(
        &self,
        request: Request<api::UpdateBuildHistoryRequest>,
    ) -> Result<Response<api::UpdateBuildHistoryResponse>, Status> {
        let history = &self.0.builds.history;
        history
            .update(&self.0.builder, &request.into_inner())
            .await?;
        Ok(Response::new(api::UpdateBuildHistoryResponse {}))
    }
}

/// `grpc.health.v1.Health`: whoever is answered finds it serving.
#[derive(Debug)]
pub(crate) struct Health;

#[tonic::async_trait]
impl HealthService for Health {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse {
            statuses: [(String::new(), serving())].into(),
        }))
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let once = stream::once(async { Ok(serving()) });
        Ok(Response::new(once.chain(stream::pending()).boxed()))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}
