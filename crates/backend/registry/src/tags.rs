//! The tags of a repository, page by page.

use http::Method;
use http::header::LINK;
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::error::Error;
use crate::remote::{Call, Remote};
use crate::transport::describe;

/// Pages up to this many bytes are read.
const PAGE_LIMIT: usize = 4 * 1024 * 1024;
/// More pages than this are not a listing but a trap.
const PAGES: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Remote {
    /// Returns all tags of the repository, in the order of the registry.
    ///
    /// # Errors
    /// As the registry or the connection says; [`Error::Tags`] when the answer is not a list of tags.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let mut next = Some(self.path("tags/list"));
        for _page in 0..PAGES {
            let Some(path) = next else { break };
            let mut call = Call::new(Method::GET, path);
            call.resolves = true;
            let response = self.call(&call).await?;
            next = following(&response);
            let body = read(response).await?;
            let page: Page = serde_json::from_slice(&body).map_err(Error::Tags)?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(tags)
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, Error> {
    let url = response.url().to_string();
    let authority = response.url().authority().to_owned();
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| describe(&error, &authority, 443).during("Get", &url))?;
        let Some(chunk) = chunk else { return Ok(body) };
        body.extend_from_slice(&chunk);
        if body.len() > PAGE_LIMIT {
            return Err(Error::ManifestTooLarge(body.len() as u64));
        }
    }
}

/// The path of the next page: `Link: </v2/…?last=x>; rel="next"` (RFC 8288). Only a page of the same
/// server is followed.
fn following(response: &Response) -> Option<String> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    next_page(response.url(), link)
}

fn next_page(base: &Url, link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("rel=\"next\"") && !rest.contains("rel=next") {
        return None;
    }
    let url = base.join(target).ok()?;
    (url.origin() == base.origin()).then(|| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let base = Url::parse("http://r:5000/v2/x/tags/list").unwrap();
        assert_eq!(
            next_page(&base, "</v2/x/tags/list?last=b&n=2>; rel=\"next\"").as_deref(),
            Some("/v2/x/tags/list?last=b&n=2")
        );
        assert_eq!(next_page(&base, "<http://evil/v2/x>; rel=\"next\""), None);
        assert_eq!(next_page(&base, "</v2/x>; rel=\"prev\""), None);
        assert_eq!(next_page(&base, "nonsense"), None);
    }
}
