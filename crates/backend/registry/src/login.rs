//! Does a registry accept these credentials? (`POST /auth`)

use http::{HeaderValue, StatusCode};
use reqwest::Response;

use crate::auth::{Auth, Secret};
use crate::challenge::{Challenge, challenges};
use crate::endpoint::{Endpoint, domain_of_server};
use crate::error::Error;
use crate::failure::status_text;
use crate::registry::Registry;
use crate::remote::basic;
use crate::token::{TokenRequest, authorization};
use crate::transport::describe;

/// The outcome of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// A token to be used instead of the password from now on, when the registry gave one.
    pub identity_token: Option<Secret>,
}

impl Registry {
    /// Checks credentials with the registry at `server` (`host[:port]`, or an address; empty is Docker
    /// Hub).
    ///
    /// # Errors
    /// [`Error::ServerAddress`] when `server` is no address, unauthorised when they are wrong; what the last address asked had to say otherwise.
    pub async fn login(&self, server: &str, auth: &Auth) -> Result<Login, Error> {
        let domain = domain_of_server(server);
        let address = format!("https://{domain}");
        if let Err(problem) = reqwest::Url::parse(&address) {
            let problem = problem.to_string();
            return Err(Error::ServerAddress { address, problem });
        }
        let mut last = None;
        let endpoints = self.endpoints(&domain).await?;
        for endpoint in endpoints.iter().filter(|endpoint| !endpoint.mirror) {
            match self.login_at(endpoint, auth).await {
                Err(error) if error.is_transport() => last = Some(error),
                outcome => {
                    self.answered(&domain, endpoint);
                    return outcome;
                }
            }
        }
        Err(last.unwrap_or(Error::Endpoint(domain)))
    }

    async fn login_at(&self, endpoint: &Endpoint, auth: &Auth) -> Result<Login, Error> {
        let url = endpoint.url("/v2/");
        let response = self.ping(endpoint, None).await?;
        if response.status().is_success() {
            return Ok(Login {
                identity_token: None,
            });
        }
        let challenge = challenges(response.headers()).into_iter().next();
        let (proof, identity_token) = match challenge {
            Some(challenge) if response.status() == StatusCode::UNAUTHORIZED => self
                .login_proof(endpoint, &challenge, auth)
                .await
                .map_err(|error| error.during("Get", &url))?,
            _ => {
                return Err(Error::Login {
                    url,
                    status: status_text(response.status()),
                });
            }
        };
        let response = self.ping(endpoint, Some(proof)).await?;
        if !response.status().is_success() {
            return Err(Error::Login {
                url,
                status: status_text(response.status()),
            });
        }
        Ok(Login { identity_token })
    }

    async fn login_proof(
        &self,
        endpoint: &Endpoint,
        challenge: &Challenge,
        auth: &Auth,
    ) -> Result<(HeaderValue, Option<Secret>), Error> {
        match (challenge, auth) {
            (_, Auth::Bearer(token)) => Ok((authorization("Bearer", token.expose())?, None)),
            (Challenge::Basic, Auth::Password { username, password }) => {
                Ok((basic(username, password.expose())?, None))
            }
            (Challenge::Basic, _) => Err(Error::NoCredentials),
            (Challenge::Bearer(bearer), auth) => {
                let client = self.client(endpoint).await?;
                let request = TokenRequest {
                    client: &client,
                    endpoint,
                    bearer,
                    scope: "",
                    auth,
                    offline: true,
                };
                let token = request.send().await?;
                let identity = match auth {
                    Auth::Identity(old) => token.refresh.or_else(|| Some(old.clone())),
                    _ => token.refresh,
                };
                Ok((token.header, identity))
            }
        }
    }

    async fn ping(
        &self,
        endpoint: &Endpoint,
        proof: Option<HeaderValue>,
    ) -> Result<Response, Error> {
        let url = endpoint.url("/v2/");
        let client = self.client(endpoint).await?;
        let mut request = client.get(&url).headers(endpoint.headers.clone());
        if let Some(proof) = proof {
            request = request.header(http::header::AUTHORIZATION, proof);
        }
        request.send().await.map_err(|error| {
            describe(&error, &endpoint.authority, endpoint.default_port).during("Get", &url)
        })
    }
}
