//! One repository of a registry, seen with one set of credentials.

use std::sync::Arc;

use arca_types::Repository;
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Body, Response};
use tokio::sync::OnceCell;

use crate::auth::Auth;
use crate::challenge::{Bearer, Challenge, challenges};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::failure::success;
use crate::registry::Registry;
use crate::route::Chosen;
use crate::token::{Token, TokenKey, TokenRequest, authorization};
use crate::transport::describe;

/// How often a small request is sent when the connection breaks.
const ATTEMPTS: u32 = 3;

/// One repository of a registry, with the credentials and the address that it answers at. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    repository: Repository,
    auth: Auth,
    /// Content goes to the registry itself, and to no mirror.
    to_push: bool,
    endpoints: OnceCell<Vec<Endpoint>>,
    pub(crate) chosen: Chosen,
}

/// What may be done in the repository: the actions of a token's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One request, apart from where it goes to and how it is authorised.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// `/v2/…`, or an address in full.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<bytes::Bytes>,
    pub(crate) access: Access,
    /// Another repository of the registry that is read, by its path.
    pub(crate) from: Option<String>,
    /// Does it ask what a tag stands for?
    pub(crate) resolves: bool,
    /// Only the registry itself is asked.
    pub(crate) past_mirrors: bool,
    /// It is sent again when the registry is overloaded.
    pub(crate) patient: bool,
}

impl Call {
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: HeaderMap::new(),
            body: None,
            access: Access::Pull,
            from: None,
            resolves: false,
            past_mirrors: false,
            patient: true,
        }
    }

    /// The method as dockerd's texts write it.
    pub(crate) fn verb(&self) -> &'static str {
        match self.method {
            Method::HEAD => "Head",
            Method::POST => "Post",
            Method::PUT => "Put",
            Method::PATCH => "Patch",
            _ => "Get",
        }
    }
}

impl Remote {
    pub(crate) fn new(
        registry: Registry,
        repository: Repository,
        auth: Auth,
        to_push: bool,
    ) -> Self {
        let inner = Inner {
            registry,
            repository,
            auth,
            to_push,
            endpoints: OnceCell::new(),
            chosen: Chosen::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    /// Returns the client that this belongs to.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Returns the address of something in this repository.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/v2/{}/{below}", self.inner.repository.path())
    }

    /// Sends a request to the first address that has a good answer to it.
    ///
    /// # Errors
    /// What the last address asked had to say.
    pub(crate) async fn call(&self, call: &Call) -> Result<Response, Error> {
        let all = self.endpoints().await?;
        let chosen = self.inner.chosen.get(call, all);
        let mut last = None;
        for endpoint in self.inner.chosen.order(call, all) {
            match self.call_patiently(endpoint, call).await {
                Ok(response) => {
                    self.inner
                        .registry
                        .answered(self.inner.repository.domain(), endpoint);
                    self.inner.chosen.note(call, endpoint);
                    return Ok(response);
                }
                Err(error) if endpoint.mirror || error.is_transport() => {
                    tracing::debug!(endpoint = endpoint.base, %error, "trying the next endpoint");
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
            if Some(endpoint) == chosen && !endpoint.mirror {
                break;
            }
        }
        Err(last.unwrap_or_else(|| Error::Endpoint(self.inner.repository.domain().to_owned())))
    }

    /// The addresses, looked up once.
    async fn endpoints(&self) -> Result<&Vec<Endpoint>, Error> {
        let inner = &self.inner;
        let look = || async {
            let mut found = inner.registry.endpoints(inner.repository.domain()).await?;
            if inner.to_push {
                found.retain(|endpoint| endpoint.capabilities.push);
            }
            Ok(found)
        };
        inner.endpoints.get_or_try_init(look).await
    }

    /// The same repository, past its mirrors: when one of them has sent something else than it should.
    /// `None` when none has been asked.
    #[must_use]
    pub fn past_mirrors(&self) -> Option<Self> {
        let inner = &self.inner;
        inner.chosen.is_mirror().then(|| {
            Self::new(
                inner.registry.clone(),
                inner.repository.clone(),
                inner.auth.clone(),
                true,
            )
        })
    }

    /// Sends a request again when the connection broke under it, or the registry asks for patience.
    async fn call_patiently(&self, endpoint: &Endpoint, call: &Call) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let error = match self.call_once(endpoint, call).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let again = error.is_temporary() && (call.patient || error.is_transport());
            if attempt == ATTEMPTS || endpoint.mirror || !again {
                return Err(error);
            }
            let pause = self.inner.registry.config().retry_pause;
            let pause = if error.is_transport() {
                pause / 10
            } else {
                pause
            };
            let pause = error.wait().unwrap_or(pause * (1 << attempt));
            tracing::debug!(%error, ?pause, "asking again");
            // A registry that is overloaded says when to come back (`Retry-After`), or is given more time
            // with each attempt; there are few of them.
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Sends a request, proves who asks when that is wanted, and takes an answer that is not a success
    /// for an error.
    async fn call_once(&self, endpoint: &Endpoint, call: &Call) -> Result<Response, Error> {
        let url = if call.path.starts_with('/') {
            endpoint.url(&call.path)
        } else {
            call.path.clone()
        };
        let named = |error: Error| error.during(call.verb(), &url);
        let known = self.inner.registry.challenge(&endpoint.base);
        let proof = match &known {
            Some(challenge) => self.proof(endpoint, challenge, call).await.map_err(named)?,
            None => self.unasked_proof()?,
        };
        let sent_proof = proof.is_some();
        let response = self.send(endpoint, call, &url, proof).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return success(response).await;
        }
        let asked = challenges(response.headers()).into_iter().next();
        let Some(challenge) = asked else {
            return success(response).await;
        };
        self.inner
            .registry
            .remember_challenge(&endpoint.base, &without_error(&challenge));
        if sent_proof && !self.forget(endpoint, &challenge, call) {
            return success(response).await;
        }
        let proof = self
            .proof(endpoint, &challenge, call)
            .await
            .map_err(named)?;
        if proof.is_none() {
            return success(response).await;
        }
        success(self.send(endpoint, call, &url, proof).await?).await
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        url: &str,
        proof: Option<HeaderValue>,
    ) -> Result<Response, Error> {
        let client = self.inner.registry.client(endpoint).await?;
        let mut request = client
            .request(call.method.clone(), url)
            .headers(endpoint.headers.clone())
            .headers(call.headers.clone());
        if let Some(proof) = proof {
            request = request.header(http::header::AUTHORIZATION, proof);
        }
        if let Some(body) = &call.body {
            request = request.body(Body::from(body.clone()));
        }
        request.send().await.map_err(|error| {
            let described = describe(&error, &endpoint.authority, endpoint.default_port);
            if error.is_connect() {
                // Who cannot be reached at all is named by the API's root, as dockerd does.
                described.during("Get", &endpoint.url("/v2/"))
            } else {
                described.during(call.verb(), url)
            }
        })
    }

    /// A ready-made token is sent without being asked for.
    fn unasked_proof(&self) -> Result<Option<HeaderValue>, Error> {
        match &self.inner.auth {
            Auth::Bearer(token) => authorization("Bearer", token.expose()).map(Some),
            _ => Ok(None),
        }
    }

    /// Makes the answer to a challenge.
    pub(crate) async fn proof(
        &self,
        endpoint: &Endpoint,
        challenge: &Challenge,
        call: &Call,
    ) -> Result<Option<HeaderValue>, Error> {
        let anonymous = Auth::Anonymous;
        let auth = if endpoint.mirror {
            &anonymous
        } else {
            &self.inner.auth
        };
        match (challenge, auth) {
            (_, Auth::Bearer(token)) => authorization("Bearer", token.expose()).map(Some),
            (Challenge::Basic, Auth::Password { username, password }) => {
                basic(username, password.expose()).map(Some)
            }
            (Challenge::Basic, _) => Err(Error::NoCredentials),
            (Challenge::Bearer(bearer), auth) => {
                let token = self.token(endpoint, bearer, call, auth).await?;
                Ok(Some(token.header))
            }
        }
    }

    async fn token(
        &self,
        endpoint: &Endpoint,
        bearer: &Bearer,
        call: &Call,
        auth: &Auth,
    ) -> Result<Token, Error> {
        let key = self.token_key(bearer, call, auth);
        if let Some(token) = self.inner.registry.token(&key) {
            return Ok(token);
        }
        let client = self.inner.registry.client(endpoint).await?;
        let request = TokenRequest {
            client: &client,
            endpoint,
            bearer,
            scope: &key.scope,
            auth,
            offline: false,
        };
        let token = request.send().await?;
        self.inner.registry.remember_token(key, token.clone());
        Ok(token)
    }

    fn token_key(&self, bearer: &Bearer, call: &Call, auth: &Auth) -> TokenKey {
        let actions = match call.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let mut scope = format!("repository:{}:{actions}", self.inner.repository.path());
        if let Some(from) = &call.from {
            scope = format!("{scope} repository:{from}:pull");
        }
        TokenKey {
            realm: bearer.realm.clone(),
            service: bearer.service.clone(),
            scope,
            auth: auth.clone(),
        }
    }

    /// Drops the token that was refused. Returns whether a new one may fare better.
    fn forget(&self, endpoint: &Endpoint, challenge: &Challenge, call: &Call) -> bool {
        let Challenge::Bearer(bearer) = challenge else {
            return false;
        };
        if matches!(self.inner.auth, Auth::Bearer(_)) {
            return false;
        }
        let auth = if endpoint.mirror {
            Auth::Anonymous
        } else {
            self.inner.auth.clone()
        };
        self.inner
            .registry
            .forget_token(&self.token_key(bearer, call, &auth));
        bearer.error.as_deref() != Some("insufficient_scope")
    }
}

/// What is remembered of a challenge: not what was wrong with one request.
fn without_error(challenge: &Challenge) -> Challenge {
    match challenge {
        Challenge::Basic => Challenge::Basic,
        Challenge::Bearer(bearer) => Challenge::Bearer(Bearer {
            realm: bearer.realm.clone(),
            service: bearer.service.clone(),
            ..Bearer::default()
        }),
    }
}

pub(crate) fn basic(username: &str, password: &str) -> Result<HeaderValue, Error> {
    let joined = format!("{username}:{password}");
    authorization(
        "Basic",
        &base64::engine::general_purpose::STANDARD.encode(joined),
    )
}
