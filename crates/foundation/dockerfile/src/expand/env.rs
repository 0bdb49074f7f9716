//! Variables by name, in the order in which they were last set.

/// What an expansion asks for the value of a variable.
pub trait Variables {
    /// The value of `name`; `None` when it is not set.
    fn value(&self, name: &str) -> Option<&str>;
}

/// An ordered set of variables. Setting one again moves it to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    pairs: Vec<(String, String)>,
}

impl Env {
    /// No variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Variables from `NAME=value` texts; a text without `=` sets an empty value.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut env = Self::new();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            env.set(name, value);
        }
        env
    }

    /// Sets `name`.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.remove(&name);
        self.pairs.push((name, value.into()));
    }

    /// Forgets `name`.
    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|(key, _)| key != name);
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// The variables as `NAME=value` texts, in order.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

impl Variables for Env {
    fn value(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A set without any variable.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn value(&self, _: &str) -> Option<&str> {
        None
    }
}
