//! The addresses under which a registry can be asked.

use crate::config::Config;

/// The domain that stands for Docker Hub in references.
const HUB_DOMAIN: &str = "docker.io";
/// The host that serves Docker Hub's repositories.
const HUB_HOST: &str = "registry-1.docker.io";

/// One address: scheme, host, and a path when it is a mirror below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host[:port][/path]`, without a slash at its end.
    pub(crate) base: String,
    /// `host[:port]`.
    pub(crate) authority: String,
    /// The port of the scheme.
    pub(crate) default_port: u16,
    /// Mirrors fail quietly and never see the user's credentials.
    pub(crate) mirror: bool,
}

impl Endpoint {
    pub(crate) fn new(base: &str, mirror: bool) -> Self {
        let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
        Self {
            base: base.to_owned(),
            authority: rest.split('/').next().unwrap_or(rest).to_owned(),
            default_port: if scheme == "http" { 80 } else { 443 },
            mirror,
        }
    }

    /// Returns the address of `path`, which begins with `/v2/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// Returns the addresses of a registry in the order in which they are asked.
pub(crate) fn endpoints(config: &Config, domain: &str) -> Vec<Endpoint> {
    if domain == HUB_DOMAIN {
        let mirrors = config
            .mirrors
            .iter()
            .map(|mirror| Endpoint::new(mirror.as_str(), true));
        return mirrors
            .chain([Endpoint::new(&format!("https://{HUB_HOST}"), false)])
            .collect();
    }
    let mut found = vec![Endpoint::new(&format!("https://{domain}"), false)];
    if config.is_insecure(domain) {
        found.push(Endpoint::new(&format!("http://{domain}"), false));
    }
    found
}

/// Returns the domain that a server address of a login means.
pub(crate) fn domain_of_server(address: &str) -> String {
    let bare = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    let domain = bare.split('/').next().unwrap_or(bare);
    match domain {
        "" | "index.docker.io" | HUB_HOST => HUB_DOMAIN.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: &Config, domain: &str) -> Vec<String> {
        endpoints(config, domain)
            .into_iter()
            .map(|endpoint| endpoint.base)
            .collect()
    }

    #[test]
    fn mirrors_stand_before_the_hub_and_before_nothing_else() {
        let config = Config {
            mirrors: vec!["http://m.example/hub/".parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(
            bases(&config, "docker.io"),
            ["http://m.example/hub", "https://registry-1.docker.io"]
        );
        assert_eq!(bases(&config, "quay.io"), ["https://quay.io"]);
    }

    #[test]
    fn an_insecure_registry_is_asked_over_http_last() {
        assert_eq!(
            bases(&Config::default(), "127.0.0.1:5000"),
            ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]
        );
    }

    #[test]
    fn server_addresses_of_logins_are_understood() {
        assert_eq!(domain_of_server("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(domain_of_server(""), "docker.io");
        assert_eq!(domain_of_server("http://x:5000/v2/"), "x:5000");
    }
}
