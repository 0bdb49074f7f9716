//! `ContainerCreate`: a record and what it holds; nothing runs yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arca_store::{Batch, Durability};
use arca_types::ContainerId;

use crate::Error;
use crate::actor::event;
use crate::check;
use crate::container::{Container, Ends};
use crate::creating;
use crate::health;
use crate::merge;
use crate::model::{
    ContainerSpec, Endpoint, HostSpec, IpcMode, MountPoint, NetworkMode, NetworkSettings, PidMode,
};
use crate::names;
use crate::record::{ContainerRecord, Intent};
use crate::requests::{CreateRequest, Created};
use crate::service::{Containers, Service};
use crate::start::blocking;
use crate::state::{Run, State};
use crate::undo::Undo;

impl Containers {
    /// Creates a container (`ContainerCreate`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be; [`Error::NameInUse`]; [`Error::Image`] (`No such image`)
    /// when the image is not there; others when something cannot be prepared. Nothing is left then.
    pub async fn create(&self, request: CreateRequest) -> Result<Created, Error> {
        let CreateRequest {
            name,
            mut spec,
            platform,
        } = request;
        let service = self.service();
        let name = name.filter(|name| !name.is_empty());
        let name = name
            .map(|name| names::check(&name).map(str::to_owned))
            .transpose()?;
        let warnings = check::check(&mut spec, &service.facts.abilities)?;
        self.find_shared(&mut spec.host)?;
        if spec.image.is_empty() {
            return Err(Error::Invalid("no command specified".to_owned()));
        }
        service.find_links(&mut spec)?;
        let image = service
            .images
            .resolve(&spec.image, platform.as_ref())
            .await?;
        merge::image(&mut spec, &image.config.config)?;
        let config = service.config();
        merge::daemon(&mut spec, &config, service.facts.unified)?;
        check::check_remapped(&spec.host, config.users_of(&spec.host).is_some())?;
        health::check_label(&spec.labels)?;
        arca_logging::validate(&spec.host.log.driver, &spec.host.log.options)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let id = ContainerId::random();
        let mut undo = Undo::default();
        let name = reserve(service, name, &id, &mut undo)?;
        let new = New {
            id: id.clone(),
            name,
            spec,
            image,
        };
        // To its end, also when the client goes away meanwhile: half a container would be nobody's.
        let work = service
            .tasks
            .spawn(complete(Arc::clone(service), new, undo));
        work.await.unwrap_or(Err(Error::ShuttingDown))?;
        Ok(Created { id, warnings })
    }

    /// Finds the containers whose namespaces are shared: they are known by their IDs from then on.
    fn find_shared(&self, host: &mut HostSpec) -> Result<(), Error> {
        let find = |other: &mut String| {
            let found = self.get(other).map_err(Error::into_invalid)?;
            *other = found.id.to_string();
            Ok::<(), Error>(())
        };
        if let PidMode::Container(other) = &mut host.pid_mode {
            find(other)?;
        }
        if let Some(IpcMode::Container(other)) = &mut host.ipc_mode {
            find(other)?;
        }
        // One that is not there yet may be when the container is started.
        if let NetworkMode::Container(other) = &mut host.network_mode
            && let Err(error) = find(other)
        {
            tracing::debug!(%error, "a container to share the network of is not there yet");
        }
        Ok(())
    }
}

/// Takes the name that was asked for, or makes one up.
fn reserve(
    service: &Arc<Service>,
    name: Option<String>,
    id: &ContainerId,
    undo: &mut Undo,
) -> Result<String, Error> {
    let name = match name {
        Some(name) => {
            service.index.reserve(&name, id)?;
            name
        }
        None => (0..20)
            .map(names::generate)
            .find(|name| service.index.reserve(name, id).is_ok())
            .map_or_else(
                || {
                    service
                        .index
                        .reserve(id.short(), id)
                        .map(|()| id.short().to_owned())
                },
                Ok,
            )?,
    };
    undo.push("name", {
        let (service, name, id) = (Arc::clone(service), name.clone(), id.clone());
        async move {
            service.index.release(&name, &id);
            Ok(())
        }
    });
    Ok(name)
}

/// What a container is made of.
struct New {
    id: ContainerId,
    name: String,
    spec: ContainerSpec,
    image: arca_images::Image,
}

/// Makes the container known, or takes back what was done for it.
async fn complete(service: Arc<Service>, new: New, mut undo: Undo) -> Result<(), Error> {
    let image = new.image.id.clone();
    match prepare(&service, new, &mut undo).await {
        Ok(container) => {
            let id = container.id.clone();
            let created = event(&container, "create");
            service.adopt(container, Intent::default());
            service.events.publish(created).await;
            tracing::info!(container.id = %id, %image, "created");
            Ok(())
        }
        Err(error) => {
            undo.run().await;
            Err(error)
        }
    }
}

/// Image, root filesystem, volumes, directory, record.
async fn prepare(service: &Arc<Service>, new: New, undo: &mut Undo) -> Result<Container, Error> {
    let id = new.id.clone();
    service.images.acquire(&new.image.id, &id)?;
    undo.push("image", {
        let (service, id) = (Arc::clone(service), id.clone());
        async move {
            service.images.release(&id);
            Ok(())
        }
    });
    let size = check::root_size(&new.spec.host)?;
    let layers = &new.image.layers;
    let prepared = service.storage.prepare_of_size(&id, layers, size).await;
    prepared.map_err(|cause| match cause {
        // A refusal of what was asked for, in dockerd's words.
        arca_storage::Error::NoSize => Error::Failed(cause.to_string()),
        cause => Error::Storage(cause),
    })?;
    undo.push("root filesystem", {
        let (service, id) = (Arc::clone(service), id.clone());
        async move { service.storage.remove(&id).await.map_err(Error::Storage) }
    });
    let mounts = service.make_mounts(&id, &new.spec, undo).await?;
    let container = assemble(service, new, mounts);
    let endpoints = crate::network::endpoint_specs(&container)?;
    // Nothing is set up yet, so the refusal stands for itself.
    let checked = service.networks.check(&endpoints);
    checked.map_err(|cause| Error::Networking(Box::new(cause)))?;
    make_directory(Arc::clone(&container.dir), undo).await?;
    let record = ContainerRecord::new(&container, Intent::default());
    let batch = Batch::new()
        .put(id.as_str(), &record)
        .map_err(Error::Store)?;
    let batch = creating::known(batch, &container.mounts);
    let saved = service.store.commit(batch, Durability::Disk).await;
    saved.map_err(Error::Store)?;
    Ok(container)
}

fn assemble(service: &Service, new: New, mounts: Vec<MountPoint>) -> Container {
    let New {
        id,
        name,
        mut spec,
        image,
    } = new;
    if spec.hostname.is_empty() && !matches!(spec.host.network_mode, NetworkMode::Container(_)) {
        spec.hostname = match spec.host.network_mode {
            NetworkMode::Host => host_name(),
            _ => id.short().to_owned(),
        };
    }
    let (path, args) = merge::command(&spec);
    let network = NetworkSettings {
        networks: endpoints(&spec),
        ..NetworkSettings::default()
    };
    Container {
        name: name.into(),
        created: service.clock.now(),
        image: image.id,
        path: path.into(),
        args: args.into(),
        spec: Arc::new(spec),
        state: State::Created,
        run: Run::default(),
        restart_count: 0,
        health: None,
        mounts: mounts.into(),
        network: Arc::new(network),
        driver: service.driver_name(),
        dir: service.directory(&id).into(),
        ends: Ends::default(),
        id,
    }
}

/// Makes a directory for root and the group alone, and takes it back with what is in it.
pub(crate) async fn make_directory(dir: Arc<Path>, undo: &mut Undo) -> Result<(), Error> {
    let made = Arc::clone(&dir);
    blocking(move || {
        use std::os::unix::fs::DirBuilderExt as _;
        let done = std::fs::DirBuilder::new().mode(0o710).create(&made);
        done.map_err(Error::file("make directory", &*made))
    })
    .await?;
    undo.push(
        "directory",
        blocking(move || {
            std::fs::remove_dir_all(&dir).map_err(Error::file("remove directory", &*dir))
        }),
    );
    Ok(())
}

/// The endpoints as inspect shows them before the start: one for each network that was named.
fn endpoints(spec: &ContainerSpec) -> BTreeMap<String, Endpoint> {
    if spec.network_disabled || matches!(spec.host.network_mode, NetworkMode::Container(_)) {
        return BTreeMap::new();
    }
    let main = spec.host.network_mode.to_string();
    let mut all: BTreeMap<String, Endpoint> = spec
        .networks
        .iter()
        .map(|(name, request)| {
            let name = if name == "default" { "bridge" } else { name };
            (name.to_owned(), Endpoint::asked(request.clone()))
        })
        .collect();
    let endpoint = all.entry(main).or_default();
    if let Some(mac) = &spec.mac_address
        && endpoint.request.mac_address.is_empty()
    {
        endpoint.request.mac_address.clone_from(mac);
        endpoint.mac_address.clone_from(mac);
    }
    all
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
