//! How vertices are called: `[build 2/5] RUN make`.

use arca_dockerfile::{Env, Lexer, Variables};
use arca_types::Platform;

use super::stage::Stage;

impl Stage {
    /// `text` with the stage, the number of the step, and the platforms when there are several.
    pub(super) fn step_name(
        &mut self,
        text: &str,
        platform: Option<&Platform>,
        env: Option<&Env>,
    ) -> String {
        self.step += 1;
        self.step_name_again(text, platform, env)
    }

    /// The same for a step that has been counted.
    pub(super) fn step_name_again(
        &self,
        text: &str,
        platform: Option<&Platform>,
        env: Option<&Env>,
    ) -> String {
        if self.steps == 0 {
            return text.to_owned();
        }
        let mut name = String::from("[");
        if let Some(platform) = platform {
            let target = env
                .and_then(|env| target_of(env, platform))
                .unwrap_or_default();
            name.push_str(&format!("{platform}{target} "));
        }
        if !self.label.is_empty() {
            name.push_str(&self.label);
            name.push(' ');
        }
        let width = self.steps.to_string().len();
        let onbuild = if self.in_trigger { "ONBUILD " } else { "" };
        format!("{name}{:width$}/{}] {onbuild}{text}", self.step, self.steps)
    }
}

/// `->arm64` where the stage runs on another platform than it builds for.
fn target_of(env: &Env, base: &Platform) -> Option<String> {
    let set = |name| env.value(name);
    let target: Platform = match set("TARGETPLATFORM").map(str::parse) {
        Some(Ok(platform)) => platform,
        _ => {
            let parts = (set("TARGETOS"), set("TARGETARCH"), set("TARGETVARIANT"));
            if let (None, None, None) = parts {
                return None;
            }
            let os = parts.0.filter(|os| !os.is_empty()).unwrap_or(&base.os);
            let arch = parts
                .1
                .filter(|arch| !arch.is_empty())
                .unwrap_or(&base.architecture);
            Platform::new(os, arch, parts.2)
        }
    };
    if target.os != base.os {
        return Some(format!("->{target}"));
    }
    if target.architecture == base.architecture {
        return None;
    }
    let variant = target
        .variant
        .map(|variant| format!("/{variant}"))
        .unwrap_or_default();
    Some(format!("->{}{variant}", target.architecture))
}

/// `text` with its first word in upper case.
pub(super) fn upper(text: &str) -> String {
    let (first, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    format!("{}{rest}", first.to_uppercase())
}

/// `text` with its variables; as it is when it cannot be read.
pub(super) fn shown(lexer: &Lexer, text: &str, env: &dyn Variables) -> String {
    lexer
        .expand(text, env)
        .map_or_else(|_error| text.to_owned(), |done| done.text)
}

/// The first line of a here-document.
pub(super) fn summary(document: &str) -> String {
    let mut lines = document.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        format!("{first}...")
    } else {
        first.to_owned()
    }
}

/// `path` from the root, clean.
pub(super) fn rooted(path: &str) -> String {
    arca_dockerfile::clean_path(&format!("/{path}"))
}
