//! Tokens for bearer challenges (distribution's token and OAuth2 specifications).

use std::time::{Duration, Instant};

use http::HeaderValue;
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::auth::{Auth, Secret};
use crate::challenge::Bearer;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::failure::failure;
use crate::transport::describe;

/// How arca names itself to token servers: they know this one.
const CLIENT_ID: &str = "docker";
/// How long a token is good for when its server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Answers of token servers are read up to this many bytes.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// What a token was given for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: String,
    pub(crate) auth: Auth,
}

/// A token as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    /// A refresh token that came with it.
    pub(crate) refresh: Option<Secret>,
    until: Instant,
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    refresh_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Makes the value of an `Authorization` header that is never shown.
pub(crate) fn authorization(scheme: &str, secret: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("{scheme} {secret}"))
        .ok()
        .ok_or(Error::NoToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// One request for a token.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) bearer: &'a Bearer,
    /// Scopes, separated by blanks.
    pub(crate) scope: &'a str,
    pub(crate) auth: &'a Auth,
    /// Ask for a refresh token too: a login.
    pub(crate) offline: bool,
}

impl TokenRequest<'_> {
    /// Asks the token server.
    pub(crate) async fn send(&self) -> Result<Token, Error> {
        let response = match self.auth {
            Auth::Identity(refresh) => self.post(refresh).await?,
            _ => self.get().await?,
        };
        if !response.status().is_success() {
            return Err(failure(response).await);
        }
        let answer = read(response).await?;
        let secret = match answer.access_token.or(answer.token) {
            Some(secret) => secret,
            None => return Err(Error::NoToken),
        };
        let life = answer
            .expires_in
            .map_or(DEFAULT_LIFE, Duration::from_secs)
            .max(DEFAULT_LIFE);
        Ok(Token {
            header: authorization("Bearer", secret.expose())?,
            refresh: answer.refresh_token,
            // A tenth earlier, so that it does not expire on its way.
            until: Instant::now() + life.mul_f32(0.9),
        })
    }

    async fn get(&self) -> Result<Response, Error> {
        let mut url = self.realm()?;
        {
            let mut query = url.query_pairs_mut();
            if let Auth::Password { username, .. } = self.auth {
                query.append_pair("account", username);
            }
            if self.offline {
                query
                    .append_pair("client_id", CLIENT_ID)
                    .append_pair("offline_token", "true");
            }
            for scope in self.scope.split_whitespace() {
                query.append_pair("scope", scope);
            }
            if !self.bearer.service.is_empty() {
                query.append_pair("service", &self.bearer.service);
            }
        }
        let mut request = self.client.get(url.clone());
        if let Auth::Password { username, password } = self.auth {
            request = request.basic_auth(username, Some(password.expose()));
        }
        request
            .send()
            .await
            .map_err(|error| self.broken("Get", &url, &error))
    }

    /// OAuth2: a refresh token for an access token.
    async fn post(&self, refresh: &Secret) -> Result<Response, Error> {
        let url = self.realm()?;
        let mut form = Url::parse("form:").ok().ok_or(Error::NoToken)?;
        form.query_pairs_mut()
            .append_pair("client_id", CLIENT_ID)
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh.expose())
            .append_pair("scope", self.scope)
            .append_pair("service", &self.bearer.service);
        let body = form.query().unwrap_or_default().to_owned();
        self.client
            .post(url.clone())
            .header(
                http::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            )
            .body(body)
            .send()
            .await
            .map_err(|error| self.broken("Post", &url, &error))
    }

    fn realm(&self) -> Result<Url, Error> {
        let realm = &self.bearer.realm;
        let url = Url::parse(realm)
            .ok()
            .ok_or_else(|| Error::Endpoint(realm.clone()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Endpoint(realm.clone()));
        }
        Ok(url)
    }

    fn broken(&self, method: &'static str, url: &Url, error: &reqwest::Error) -> Error {
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => self.endpoint.authority.clone(),
        };
        let port = if url.scheme() == "http" { 80 } else { 443 };
        describe(error, &authority, port).during(method, url.as_str())
    }
}

async fn read(mut response: Response) -> Result<Answer, Error> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return Err(Error::NoToken);
        }
    }
    serde_json::from_slice(&body).map_err(Error::TokenBody)
}
