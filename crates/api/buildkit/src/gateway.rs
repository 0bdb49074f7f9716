//! `moby.buildkit.v1.frontend.LLBBridge`: a client as its own front end. buildx always is one: it calls
//! `Solve` with the front end it wants here, looks at what came, and returns it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arca_build::graph::{Edge, ResolveMode};
use arca_build::progress::Warning;
use arca_build::{BuildResult, CacheImport, SolveInput};
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridge;
use tonic::{Request, Response, Status, Streaming};

use crate::build::Build;
use crate::control::Answers;
use crate::gw::result::Result as Refs;
use crate::service::Service;
use crate::{caps, control, convert, definition, error, gw};

/// The header that names the build a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";

/// The service.
#[derive(Debug)]
pub(crate) struct Gateway(pub(crate) Arc<Service>);

impl Gateway {
    async fn build<T>(&self, request: &Request<T>) -> Result<Arc<Build>, Status> {
        let id = request.metadata().get(BUILD);
        let id = id.and_then(|id| id.to_str().ok());
        let id =
            id.ok_or_else(|| Status::invalid_argument(format!("no {BUILD} in the request")))?;
        self.0.builds.find(id).await
    }

    /// What a build gave, with names for its trees.
    fn told(&self, build: &Build, result: BuildResult) -> gw::Result {
        let named = |edge: Option<Edge>| match edge {
            None => gw::Ref::default(),
            Some(edge) => gw::Ref {
                def: Some(definition::of_shared(&self.0.builds.share(&edge))),
                id: build.name(Some(edge)),
            },
        };
        let mut refs = result.refs;
        let single = refs.len() <= 1 && refs.keys().all(String::is_empty);
        gw::Result {
            metadata: result.metadata.into_iter().collect(),
            attestations: HashMap::new(),
            result: Some(if single {
                Refs::Ref(named(refs.remove("").flatten()))
            } else {
                let refs = refs.into_iter().map(|(key, edge)| (key, named(edge)));
                Refs::Refs(gw::RefMap {
                    refs: refs.collect(),
                })
            }),
        }
    }
}

/// What a client returns.
fn returned(build: &Build, result: gw::Result) -> Result<BuildResult, Status> {
    let gw::Result {
        metadata,
        attestations,
        result,
    } = result;
    if attestations.values().any(|all| !all.attestation.is_empty()) {
        return Err(Status::unimplemented(
            "attestations of a client's front end are not supported",
        ));
    }
    let mut refs = BTreeMap::new();
    match result {
        None => {}
        Some(Refs::RefDeprecated(id)) => {
            refs.insert(String::new(), build.tree(&id)?);
        }
        Some(Refs::Ref(one)) => {
            refs.insert(String::new(), build.tree(&one.id)?);
        }
        Some(Refs::RefsDeprecated(map)) => {
            for (key, id) in map.refs {
                refs.insert(key, build.tree(&id)?);
            }
        }
        Some(Refs::Refs(map)) => {
            for (key, one) in map.refs {
                refs.insert(key, build.tree(&one.id)?);
            }
        }
    }
    Ok(BuildResult {
        refs,
        metadata: metadata.into_iter().collect(),
    })
}

fn mode(text: &str) -> Result<ResolveMode, Status> {
    let invalid = || Status::invalid_argument(format!("invalid resolvemode: {text}"));
    ResolveMode::parse(text).ok_or_else(invalid)
}

fn no_containers<T>() -> Result<T, Status> {
    Err(Status::unimplemented(
        "containers of a client's own in a build are not supported",
    ))
}

#[tonic::async_trait]
impl LlbBridge for Gateway {
    async fn resolve_image_config(
        &self,
        request: Request<gw::ResolveImageConfigRequest>,
    ) -> Result<Response<gw::ResolveImageConfigResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        let platform = request.platform.as_ref().map(convert::platform);
        let resolved = build
            .job
            .resolve_image(
                &request.r#ref,
                platform.as_ref(),
                mode(&request.resolve_mode)?,
            )
            .await
            .map_err(|e| error::status(&e))?;
        Ok(Response::new(gw::ResolveImageConfigResponse {
            digest: resolved.digest.as_str().to_owned(),
            config: resolved.config,
            r#ref: resolved.reference,
        }))
    }

    async fn resolve_source_meta(
        &self,
        request: Request<gw::ResolveSourceMetaRequest>,
    ) -> Result<Response<gw::ResolveSourceMetaResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        let source = request.source.unwrap_or_default();
        let Some(name) = source.identifier.strip_prefix("docker-image://") else {
            return Err(Status::unimplemented(format!(
                "no metadata of {:?} is told",
                source.identifier
            )));
        };
        let platform = request.platform.as_ref().map(convert::platform);
        let resolved = build
            .job
            .resolve_image(name, platform.as_ref(), mode(&request.resolve_mode)?)
            .await
            .map_err(|e| error::status(&e))?;
        let image = gw::ResolveSourceImageResponse {
            digest: resolved.digest.as_str().to_owned(),
            config: resolved.config,
            attestation_chain: None,
        };
        Ok(Response::new(gw::ResolveSourceMetaResponse {
            source: Some(source),
            image: Some(image),
            ..gw::ResolveSourceMetaResponse::default()
        }))
    }

    async fn solve(
        &self,
        request: Request<gw::SolveRequest>,
    ) -> Result<Response<gw::SolveResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        if !request.source_policies.is_empty() {
            return Err(Status::unimplemented("source policies are not supported"));
        }
        let definition = request
            .definition
            .filter(|definition| !definition.def.is_empty())
            .map(|definition| definition::edge(&definition, &self.0.builds))
            .transpose()?
            .flatten();
        let imports = request.cache_imports.into_iter().map(|entry| CacheImport {
            kind: entry.r#type,
            attrs: entry.attrs.into_iter().collect(),
        });
        let input = SolveInput {
            definition,
            frontend: request.frontend,
            frontend_attrs: request.frontend_opt.into_iter().collect(),
            frontend_inputs: control::inputs(&self.0, request.frontend_inputs)?,
            cache_imports: imports.collect(),
            evaluate: request.evaluate,
        };
        build.asks(&input);
        let solved = build.job.solve(input).await;
        let result = self.told(&build, solved.map_err(|e| error::status(&e))?);
        Ok(Response::new(gw::SolveResponse {
            r#ref: String::new(),
            result: Some(result),
        }))
    }

    async fn read_file(
        &self,
        request: Request<gw::ReadFileRequest>,
    ) -> Result<Response<gw::ReadFileResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        let tree = build.tree(&request.r#ref)?;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let range = request
            .range
            .map(|range| (number(range.offset), number(range.length)));
        let read = build
            .job
            .read_file(tree.as_ref(), &request.file_path, range);
        let data = read.await.map_err(|e| error::status(&e))?;
        Ok(Response::new(gw::ReadFileResponse { data }))
    }

    async fn read_dir(
        &self,
        request: Request<gw::ReadDirRequest>,
    ) -> Result<Response<gw::ReadDirResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        let tree = build.tree(&request.r#ref)?;
        let (path, pattern) = (&request.dir_path, &request.include_pattern);
        let entries = build.job.read_dir(tree.as_ref(), path, pattern).await;
        let entries = entries.map_err(|e| error::status(&e))?;
        Ok(Response::new(gw::ReadDirResponse {
            entries: entries.iter().map(convert::stat).collect(),
        }))
    }

    async fn stat_file(
        &self,
        request: Request<gw::StatFileRequest>,
    ) -> Result<Response<gw::StatFileResponse>, Status> {
        let build = self.build(&request).await?;
        let request = request.into_inner();
        let tree = build.tree(&request.r#ref)?;
        let stat = build.job.stat_file(tree.as_ref(), &request.path).await;
        let stat = stat.map_err(|e| error::status(&e))?;
        Ok(Response::new(gw::StatFileResponse {
            stat: Some(convert::stat(&stat)),
        }))
    }

    async fn evaluate(
        &self,
        request: Request<gw::EvaluateRequest>,
    ) -> Result<Response<gw::EvaluateResponse>, Status> {
        let build = self.build(&request).await?;
        if let Some(edge) = build.tree(&request.into_inner().r#ref)? {
            let evaluated = build.job.evaluate(&edge).await;
            evaluated.map_err(|e| error::status(&e))?;
        }
        Ok(Response::new(gw::EvaluateResponse {}))
    }

    async fn ping(
        &self,
        _: Request<gw::PingRequest>,
    ) -> Result<Response<gw::PongResponse>, Status> {
        Ok(Response::new(gw::PongResponse {
            frontend_api_caps: caps::gateway(),
            llb_caps: caps::llb(),
            workers: vec![control::worker(&self.0)],
        }))
    }

    async fn r#return(
        &self,
        request: Request<gw::ReturnRequest>,
    ) -> Result<Response<gw::ReturnResponse>, Status> {
        let build = self.build(&request).await?;
        let gw::ReturnRequest { result, error } = request.into_inner();
        build.set_result(match (error, result) {
            (Some(error), _) => Err(error::detailed(error)),
            (None, result) => returned(&build, result.unwrap_or_default()),
        });
        Ok(Response::new(gw::ReturnResponse {}))
    }

    async fn inputs(
        &self,
        request: Request<gw::InputsRequest>,
    ) -> Result<Response<gw::InputsResponse>, Status> {
        let build = self.build(&request).await?;
        let definitions = build.inputs.iter().map(|(name, edge)| {
            let shared = self.0.builds.share(edge);
            (name.clone(), definition::of_shared(&shared))
        });
        Ok(Response::new(gw::InputsResponse {
            definitions: definitions.collect(),
        }))
    }

    async fn new_container(
        &self,
        _: Request<gw::NewContainerRequest>,
    ) -> Result<Response<gw::NewContainerResponse>, Status> {
        no_containers()
    }

    async fn release_container(
        &self,
        _: Request<gw::ReleaseContainerRequest>,
    ) -> Result<Response<gw::ReleaseContainerResponse>, Status> {
        no_containers()
    }

    type ExecProcessStream = Answers<gw::ExecMessage>;

    async fn exec_process(
        &self,
        _: Request<Streaming<gw::ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        no_containers()
    }

    async fn read_file_container(
        &self,
        _: Request<gw::ReadFileRequest>,
    ) -> Result<Response<gw::ReadFileResponse>, Status> {
        no_containers()
    }

    async fn read_dir_container(
        &self,
        _: Request<gw::ReadDirRequest>,
    ) -> Result<Response<gw::ReadDirResponse>, Status> {
        no_containers()
    }

    async fn stat_file_container(
        &self,
        _: Request<gw::StatFileRequest>,
    ) -> Result<Response<gw::StatFileResponse>, Status> {
        no_containers()
    }

    async fn warn(
        &self,
        request: Request<gw::WarnRequest>,
    ) -> Result<Response<gw::WarnResponse>, Status> {
        let build = self.build(&request).await?;
        let gw::WarnRequest {
            digest,
            level,
            short,
            detail,
            url,
            info,
            ranges,
        } = request.into_inner();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        build.job.warn(Warning {
            vertex: digest.parse().ok(),
            level,
            short: text(short),
            detail: detail.into_iter().map(text).collect(),
            url,
            source: info.map(convert::from_source),
            ranges: ranges.iter().map(convert::from_range).collect(),
        });
        Ok(Response::new(gw::WarnResponse {}))
    }
}
