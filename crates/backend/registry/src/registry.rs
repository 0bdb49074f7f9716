//! The client: what all conversations share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arca_types::Repository;
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Auth;
use crate::challenge::Challenge;
use crate::config::{Config, Proxies, host_of};
use crate::endpoint::{Endpoint, endpoints};
use crate::error::Error;
use crate::hosts::{HostTls, Hosts};
use crate::remote::Remote;
use crate::tls::{HostCertificates, client_config};
use crate::token::{Token, TokenKey};

/// Redirections that are followed in a row.
const REDIRECTS: usize = 10;

/// A client of registries. Cheap to clone; clones share connections, tokens and the limit on downloads.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RwLock<Settings>,
    known: Mutex<Known>,
}

#[derive(Clone)]
struct Settings {
    config: Arc<Config>,
    downloads: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// What has been learnt about registries since the start.
#[derive(Default)]
struct Known {
    /// By what tells one address from another, and whether it is for uploads.
    clients: HashMap<(String, bool), reqwest::Client>,
    /// The base that answered last, by domain.
    bases: HashMap<String, String>,
    /// The challenge, by base.
    challenges: HashMap<String, Challenge>,
    tokens: HashMap<TokenKey, Token>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("config", &self.config())
            .finish_non_exhaustive()
    }
}

/// The right to run one download; given back when dropped.
#[derive(Debug)]
pub struct DownloadSlot {
    _permit: OwnedSemaphorePermit,
}

/// The right to run one upload; given back when dropped.
#[derive(Debug)]
pub struct UploadSlot {
    _permit: OwnedSemaphorePermit,
}

impl Settings {
    fn new(config: Config) -> Self {
        let downloads = Arc::new(Semaphore::new(config.max_downloads.max(1)));
        let uploads = Arc::new(Semaphore::new(config.max_uploads.max(1)));
        Self {
            config: Arc::new(config),
            downloads,
            uploads,
        }
    }
}

impl Registry {
    /// Makes a client. Nothing is opened or read until it is used.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings: RwLock::new(Settings::new(config)),
                known: Mutex::new(Known::default()),
            }),
        }
    }

    /// Takes over another configuration (SIGHUP). Downloads that run go on under the old one; logins and
    /// connections are made anew.
    pub fn reload(&self, config: Config) {
        *self
            .inner
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Settings::new(config);
        *self.known() = Known::default();
    }

    /// Returns the configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.settings().config
    }

    /// Opens one repository with one set of credentials. Nothing is sent yet.
    #[must_use]
    pub fn remote(&self, repository: &Repository, auth: Auth) -> Remote {
        Remote::new(self.clone(), repository.clone(), auth, false)
    }

    /// As [`remote`](Self::remote), but past all mirrors: content is pushed to the registry itself, or to
    /// the hosts that `hosts.toml` says it is pushed to.
    #[must_use]
    pub fn remote_to_push(&self, repository: &Repository, auth: Auth) -> Remote {
        Remote::new(self.clone(), repository.clone(), auth, true)
    }

    /// Returns the right to upload when one is free.
    #[must_use]
    pub fn try_upload_slot(&self) -> Option<UploadSlot> {
        let permit = self.settings().uploads.try_acquire_owned().ok()?;
        Some(UploadSlot { _permit: permit })
    }

    /// Waits for the right to upload.
    ///
    /// # Errors
    /// [`Error::Closed`] never happens while this client exists.
    pub async fn upload_slot(&self) -> Result<UploadSlot, Error> {
        let uploads = self.settings().uploads;
        let permit = uploads.acquire_owned().await.ok().ok_or(Error::Closed)?;
        Ok(UploadSlot { _permit: permit })
    }

    /// Returns the right to download when one is free.
    #[must_use]
    pub fn try_download_slot(&self) -> Option<DownloadSlot> {
        let permit = self.settings().downloads.try_acquire_owned().ok()?;
        Some(DownloadSlot { _permit: permit })
    }

    /// Waits for the right to download.
    ///
    /// # Errors
    /// [`Error::Closed`] never happens while this client exists.
    pub async fn download_slot(&self) -> Result<DownloadSlot, Error> {
        let downloads = self.settings().downloads;
        let permit = downloads.acquire_owned().await.ok().ok_or(Error::Closed)?;
        Ok(DownloadSlot { _permit: permit })
    }

    /// The addresses of a registry; the one that answered last comes first among its own.
    ///
    /// # Errors
    /// [`Error::Hosts`] when there is a `hosts.toml` for it that cannot be read.
    pub(crate) async fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, Error> {
        let (config, name) = (self.config(), domain.to_owned());
        let looked = tokio::task::spawn_blocking(move || {
            let hosts = Hosts::find(&config.certs_dirs, &name)?;
            Ok(endpoints(&config, &name, hosts))
        });
        let mut found: Vec<Endpoint> = looked.await.ok().ok_or(Error::Closed)??;
        if let Some(base) = self.known().bases.get(domain) {
            found.sort_by_key(|endpoint| !endpoint.mirror && endpoint.base != *base);
        }
        Ok(found)
    }

    /// Remembers that an address answered.
    pub(crate) fn answered(&self, domain: &str, endpoint: &Endpoint) {
        if !endpoint.mirror {
            let mut known = self.known();
            if known.bases.get(domain) != Some(&endpoint.base) {
                known.bases.insert(domain.to_owned(), endpoint.base.clone());
            }
        }
    }

    pub(crate) fn challenge(&self, base: &str) -> Option<Challenge> {
        self.known().challenges.get(base).cloned()
    }

    pub(crate) fn remember_challenge(&self, base: &str, challenge: &Challenge) {
        self.known()
            .challenges
            .insert(base.to_owned(), challenge.clone());
    }

    pub(crate) fn token(&self, key: &TokenKey) -> Option<Token> {
        self.known()
            .tokens
            .get(key)
            .filter(|token| token.is_fresh())
            .cloned()
    }

    pub(crate) fn remember_token(&self, key: TokenKey, token: Token) {
        let mut known = self.known();
        known.tokens.retain(|_, token| token.is_fresh());
        known.tokens.insert(key, token);
    }

    pub(crate) fn forget_token(&self, key: &TokenKey) {
        self.known().tokens.remove(key);
    }

    /// Returns the HTTP client for an address, with its certificates.
    pub(crate) async fn client(&self, endpoint: &Endpoint) -> Result<reqwest::Client, Error> {
        self.client_for(endpoint, false).await
    }

    /// Returns the HTTP client for uploads to an address: the registry is silent until it has all.
    pub(crate) async fn upload_client(
        &self,
        endpoint: &Endpoint,
    ) -> Result<reqwest::Client, Error> {
        self.client_for(endpoint, true).await
    }

    async fn client_for(
        &self,
        endpoint: &Endpoint,
        upload: bool,
    ) -> Result<reqwest::Client, Error> {
        let key = (endpoint.client_key(), upload);
        if let Some(client) = self.known().clients.get(&key) {
            return Ok(client.clone());
        }
        let config = self.config();
        let (name, tls) = (endpoint.authority.clone(), endpoint.tls.clone());
        let build = move || build_client(&config, &name, tls.as_deref(), upload);
        let client = tokio::task::spawn_blocking(build)
            .await
            .ok()
            .ok_or(Error::Closed)??;
        self.known().clients.insert(key, client.clone());
        Ok(client)
    }

    fn settings(&self) -> Settings {
        self.inner
            .settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn build_client(
    config: &Config,
    authority: &str,
    host: Option<&HostTls>,
    upload: bool,
) -> Result<reqwest::Client, Error> {
    let mut certificates = HostCertificates::read(&config.certs_dirs, authority)?;
    let mut insecure = config.is_insecure(authority);
    let mut connect_timeout = config.timeout;
    if let Some(host) = host {
        certificates.add_host(host)?;
        insecure |= host.skip_verify;
        connect_timeout = host.dial_timeout.unwrap_or(connect_timeout);
    }
    let tls = client_config(certificates, authority, insecure)?;
    let mut builder = reqwest::Client::builder()
        .user_agent(config.user_agent.clone())
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(Policy::limited(REDIRECTS))
        .referer(false)
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(config.max_downloads.max(config.max_uploads))
        .no_proxy();
    if !upload {
        builder = builder.read_timeout(config.timeout);
    }
    // Nobody else's proxy can reach what is on this host.
    if !is_loopback(authority) {
        for proxy in proxies(&config.proxies)? {
            builder = builder.proxy(proxy);
        }
    }
    builder.build().map_err(Error::Client)
}

fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn proxies(config: &Proxies) -> Result<Vec<Proxy>, Error> {
    let without = config.no_proxy.as_deref().and_then(NoProxy::from_string);
    let mut found = Vec::new();
    if let Some(address) = &config.http {
        found.push(
            Proxy::http(address)
                .ok()
                .ok_or(Error::Proxy)?
                .no_proxy(without.clone()),
        );
    }
    if let Some(address) = &config.https {
        found.push(
            Proxy::https(address)
                .ok()
                .ok_or(Error::Proxy)?
                .no_proxy(without),
        );
    }
    Ok(found)
}
