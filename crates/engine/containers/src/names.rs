//! Names of containers: what is allowed, and made-up ones.

use arca_types::random_hex;

use crate::Error;

/// Takes a name from a client: without the leading slash, checked.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check(name: &str) -> Result<&str, Error> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.clone().count() > 0
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest {
        return Ok(bare);
    }
    Err(Error::Invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// The same for a name of a container that exists: dockerd shows it with its slash.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check_slashed(name: &str) -> Result<String, Error> {
    let slashed = format!("/{}", name.strip_prefix('/').unwrap_or(name));
    check(&slashed).map(str::to_owned)
}

/// Makes up a name, an adjective and the name of somebody who moved science on. After `attempt`
/// collisions a digit is added.
pub(crate) fn generate(attempt: u32) -> String {
    let pick = |list: &[&'static str]| {
        let random = usize::from_str_radix(&random_hex(3), 16).unwrap_or_default();
        list.get(random % list.len().max(1))
            .copied()
            .unwrap_or_default()
    };
    let name = format!("{}_{}", pick(&ADJECTIVES), pick(&SURNAMES));
    if attempt == 0 {
        name
    } else {
        let digit = u32::from_str_radix(&random_hex(3), 16).unwrap_or_default() % 10;
        format!("{name}{digit}")
    }
}

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "apt", "awake", "bold", "brave", "bright", "brisk", "calm",
    "candid", "careful", "clear", "clever", "cosmic", "crisp", "curious", "daring", "deft",
    "eager", "early", "earnest", "fair", "fluent", "fond", "frank", "fresh", "gentle", "glad",
    "golden", "graceful", "happy", "hardy", "honest", "humble", "keen", "kind", "light", "lively",
    "loyal", "lucid", "mellow", "merry", "mild", "modest", "nimble", "noble", "patient", "placid",
    "prompt", "proud", "quiet", "rapid", "ready", "serene", "sharp", "silent", "steady", "sunny",
    "tender", "vivid", "warm", "wise",
];

const SURNAMES: [&str; 80] = [
    "abel",
    "agnesi",
    "ampere",
    "archimedes",
    "babbage",
    "bardeen",
    "bell",
    "bernoulli",
    "bohr",
    "boole",
    "bose",
    "brahe",
    "cantor",
    "carson",
    "cauchy",
    "chandrasekhar",
    "church",
    "copernicus",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "einstein",
    "elion",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goodall",
    "hamilton",
    "hawking",
    "herschel",
    "hertz",
    "hilbert",
    "hodgkin",
    "hopper",
    "hypatia",
    "johnson",
    "kepler",
    "khorana",
    "kovalevskaya",
    "lagrange",
    "lamarr",
    "laplace",
    "leavitt",
    "leibniz",
    "liskov",
    "lovelace",
    "maxwell",
    "mayer",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "mirzakhani",
    "newton",
    "noether",
    "pascal",
    "pasteur",
    "planck",
    "poincare",
    "raman",
    "ramanujan",
    "ride",
    "riemann",
    "ritchie",
    "rubin",
    "shannon",
    "tesla",
    "turing",
    "volta",
    "wu",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        assert_eq!(check("/web").unwrap(), "web");
        assert_eq!(check("a.b-c_1").unwrap(), "a.b-c_1");
        for bad in ["", "/", "a", "_a", "a b", "-x", "a/b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let text = "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed";
        assert_eq!(check("a").unwrap_err().to_string(), text);
    }

    #[test]
    fn made_up_names_are_allowed_ones() {
        for attempt in 0..3 {
            let name = generate(attempt);
            assert!(check(&name).is_ok(), "{name}");
            assert!(name.contains('_'));
        }
    }
}
