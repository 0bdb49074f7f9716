//! Searching an index: Docker Hub's, or another host's that still has the interface of old (`v1/search`).

use http::{HeaderValue, StatusCode};
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::auth::Auth;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::registry::Registry;
use crate::remote::basic;
use crate::transport::describe;

/// The domain of Docker Hub in references, and its index.
const HUB_DOMAIN: &str = "docker.io";
const HUB_INDEX: &str = "https://index.docker.io";
/// Answers are read up to this many bytes.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How many like it.
    pub star_count: i64,
    /// Does Docker look after it?
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Option<Vec<Found>>,
}

impl Registry {
    /// Asks the index of `domain` for repositories; at most `limit`.
    ///
    /// # Errors
    /// [`Error::SearchStatus`] when it refuses, [`Error::Index`] or [`Error::InsecureIndex`] when there is
    /// none; failures of the connection.
    pub async fn search(
        &self,
        domain: &str,
        term: &str,
        limit: u32,
        auth: &Auth,
    ) -> Result<Vec<Found>, Error> {
        let endpoint = if domain == HUB_DOMAIN {
            Endpoint::new(HUB_INDEX, false)
        } else {
            self.index_of(domain).await?
        };
        let address = endpoint.url("/v1/search");
        let mut url = Url::parse(&address)
            .ok()
            .ok_or_else(|| Error::Endpoint(domain.to_owned()))?;
        url.query_pairs_mut()
            .append_pair("q", term)
            .append_pair("n", &limit.to_string());
        let client = self.client(&endpoint).await?;
        let mut request = client
            .get(url.clone())
            .header("x-docker-token", HeaderValue::from_static("true"));
        if let Auth::Password { username, password } = auth {
            let proof = basic(username, password.expose())?;
            request = request.header(http::header::AUTHORIZATION, proof);
        }
        let broken = |error: reqwest::Error| {
            describe(&error, &endpoint.authority, endpoint.default_port).during("Get", url.as_str())
        };
        let response = request.send().await.map_err(&broken)?;
        if response.status() != StatusCode::OK {
            return Err(Error::SearchStatus(response.status().as_u16()));
        }
        let body = read(response).await.map_err(&broken)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(Error::SearchBody)?;
        Ok(answer.results.unwrap_or_default())
    }

    /// Finds out under which address a host answers: anything it says will do.
    async fn index_of(&self, domain: &str) -> Result<Endpoint, Error> {
        let mut failed = Vec::new();
        let endpoints = self.endpoints(domain).await?;
        for endpoint in endpoints.into_iter().filter(|endpoint| !endpoint.mirror) {
            match self.ping_index(&endpoint).await {
                Ok(()) => return Ok(endpoint),
                Err(error) => failed.push((endpoint, error)),
            }
        }
        let domain = domain.to_owned();
        let mut failed = failed.into_iter();
        match (failed.next(), failed.next()) {
            (Some((_, https)), Some((_, http))) => Err(Error::InsecureIndex {
                domain,
                https: arca_types::chain(&https),
                http: arca_types::chain(&http),
            }),
            (Some((_, https)), None) => Err(Error::Index {
                domain,
                problem: arca_types::chain(&https),
            }),
            (None, _) => Err(Error::Endpoint(domain)),
        }
    }

    async fn ping_index(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let url = endpoint.url("/v1/_ping");
        let client = self.client(endpoint).await?;
        let sent = client.get(&url).send().await;
        sent.map(drop).map_err(|error| {
            describe(&error, &endpoint.authority, endpoint.default_port).during("Get", &url)
        })
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            // What is cut off does not parse.
            break;
        }
    }
    Ok(body)
}
