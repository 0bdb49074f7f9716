//! Repositories that an index finds (`ImageSearch`).

use std::collections::BTreeMap;

use arca_registry::{Auth, Found};

use crate::error::Error;
use crate::images::Images;

/// How many are asked for when the client does not say.
const DEFAULT_LIMIT: i64 = 25;

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    domain: String,
    term: String,
    limit: u32,
    stars: i64,
    official: Option<bool>,
    /// Automated builds are no more: who wants them finds nothing.
    automated: bool,
}

impl SearchRequest {
    /// Reads the parameters of a request. `term` may begin with the host of an index. The filters are
    /// `stars`, `is-official` and `is-automated`.
    ///
    /// # Errors
    /// [`Error::Scheme`], [`Error::SearchLimit`]; [`Error::Filter`] and [`Error::Stars`] for a filter.
    pub fn new(
        term: &str,
        limit: Option<i64>,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, Error> {
        const KNOWN: [&str; 3] = ["is-automated", "is-official", "stars"];
        if let Some(name) = filters.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Error::Filter(name.clone()));
        }
        let automated = truth(filters, "is-automated")?.unwrap_or(false);
        let official = truth(filters, "is-official")?;
        let mut stars = 0;
        for text in filters.get("stars").into_iter().flatten() {
            let wanted: i64 = text
                .parse()
                .map_err(|_not_a_number| Error::Stars(text.clone()))?;
            stars = stars.max(wanted);
        }
        if term.contains("://") {
            return Err(Error::Scheme(term.to_owned()));
        }
        let limit = limit.filter(|limit| *limit != 0).unwrap_or(DEFAULT_LIMIT);
        let valid = u32::try_from(limit).ok().filter(|limit| *limit <= 100);
        let (domain, term) = split(term);
        Ok(Self {
            domain,
            term,
            limit: valid.ok_or(Error::SearchLimit(limit))?,
            stars,
            official,
            automated,
        })
    }

    fn wants(&self, found: &Found) -> bool {
        found.star_count >= self.stars && self.official.is_none_or(|o| o == found.is_official)
    }
}

/// The host of the index, and what is left of the term.
fn split(term: &str) -> (String, String) {
    let hub = |term: &str| {
        let short = term.strip_prefix("library/").unwrap_or(term);
        ("docker.io".to_owned(), short.to_owned())
    };
    match term.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => hub(rest),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (host.to_owned(), rest.to_owned())
        }
        _ => hub(term),
    }
}

/// A filter that is true or false, once.
fn truth(filters: &BTreeMap<String, Vec<String>>, name: &str) -> Result<Option<bool>, Error> {
    let Some(values) = filters.get(name).filter(|values| !values.is_empty()) else {
        return Ok(None);
    };
    let all = |words: [&str; 2]| values.iter().all(|value| words.contains(&value.as_str()));
    match (all(["1", "true"]), all(["0", "false"])) {
        (true, _) => Ok(Some(true)),
        (_, true) => Ok(Some(false)),
        _ => Err(Error::Filter(format!("{name}=[{}]", values.join(" ")))),
    }
}

impl Images {
    /// Asks an index for repositories.
    ///
    /// # Errors
    /// [`Error::Registry`] as the index or the connection says.
    pub async fn search(&self, request: &SearchRequest, auth: &Auth) -> Result<Vec<Found>, Error> {
        let registry = &self.inner.backends.registry;
        let (domain, term) = (&request.domain, &request.term);
        let found = registry.search(domain, term, request.limit, auth).await;
        let mut found = found.map_err(Error::Registry)?;
        found.retain(|found| !request.automated && request.wants(found));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        term: &str,
        limit: Option<i64>,
        filter: &[(&str, &str)],
    ) -> Result<SearchRequest, String> {
        let filters = filter
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect();
        SearchRequest::new(term, limit, &filters).map_err(|error| arca_types::chain(&error))
    }

    #[test]
    fn a_term_may_name_its_index() {
        for (term, domain, rest) in [
            ("foo", "docker.io", "foo"),
            ("library/foo", "docker.io", "foo"),
            ("docker.io/foo", "docker.io", "foo"),
            ("some/foo", "docker.io", "some/foo"),
            ("r:5000/library/foo", "r:5000", "library/foo"),
            ("r:5000/", "r:5000", ""),
            ("localhost/x", "localhost", "x"),
        ] {
            let request = request(term, None, &[]).unwrap();
            assert_eq!((&*request.domain, &*request.term), (domain, rest), "{term}");
            assert_eq!(request.limit, 25);
        }
    }

    #[test]
    fn nonsense_is_refused_in_dockerds_words() {
        for (term, limit, filter, wanted) in [
            (
                "x",
                Some(200),
                None,
                "limit 200 is outside the range of [1, 100]",
            ),
            (
                "x",
                Some(-1),
                None,
                "limit -1 is outside the range of [1, 100]",
            ),
            (
                "http://x/y",
                None,
                None,
                "invalid repository name: repository name (http://x/y) should not have a scheme",
            ),
            ("x", None, Some(("foo", "x")), "invalid filter 'foo'"),
            (
                "x",
                None,
                Some(("stars", "x")),
                "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "x",
                None,
                Some(("is-official", "x")),
                "invalid filter 'is-official=[x]'",
            ),
        ] {
            let filter: Vec<_> = filter.into_iter().collect();
            assert_eq!(request(term, limit, &filter).unwrap_err(), wanted);
        }
    }
}
