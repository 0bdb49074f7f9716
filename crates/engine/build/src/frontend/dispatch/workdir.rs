//! `WORKDIR`, and paths that depend on it.

use arca_dockerfile::{Instruction, Rule, clean_path, quoted};
use arca_types::Timestamp;

use super::copy::owner;
use crate::Error;
use crate::frontend::convert::Converter;
use crate::frontend::plan::Inputs;
use crate::frontend::stage::Stage;
use crate::graph::{FileAction, FileActionKind, FileInput, MkDir, Op};

/// `path` as seen from `dir`: absolute, and clean if it was relative.
pub(super) fn joined(dir: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    if path.is_empty() {
        return if dir.is_empty() {
            "/".to_owned()
        } else {
            dir.to_owned()
        };
    }
    clean_path(&format!("/{dir}/{path}"))
}

/// The same for a destination, clean: a slash or a dot at its end says that it is a directory, and
/// stays.
pub(super) fn destination(dir: &str, path: &str) -> String {
    let path = if path == "." || path.is_empty() {
        "./"
    } else {
        path
    };
    let mut absolute = clean_path(&joined(dir, path));
    let end = match () {
        () if path.ends_with('/') => "/",
        () if path.ends_with("/.") => "/.",
        () => "",
    };
    if absolute == "/" {
        absolute.clear();
    }
    absolute.push_str(if end.is_empty() && absolute.is_empty() {
        "/"
    } else {
        end
    });
    absolute
}

impl Converter<'_> {
    pub(super) fn workdir(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        path: &str,
    ) -> Result<(), Error> {
        let lines = instruction.lines;
        let path = self.expand(stage, lines, path)?;
        if !stage.state.has_workdir && !path.starts_with('/') {
            let shown = quoted(&path);
            let text = format!(
                "Relative workdir {shown} can have unexpected results if the base image changes"
            );
            self.linter
                .report(Rule::WorkdirRelativePath, &[lines], text);
        }
        stage.state.has_workdir = true;
        let dir = joined(&stage.state.image.config.working_dir, &path);
        stage.state.image.config.working_dir.clone_from(&dir);
        stage.state.dir.clone_from(&dir);
        let layer = dir != "/";
        if layer {
            self.make_workdir(stage, instruction, &dir);
        }
        self.note(stage, format!("WORKDIR {dir}"), layer);
        Ok(())
    }

    fn make_workdir(&mut self, stage: &mut Stage, instruction: &Instruction, dir: &str) {
        let mut inputs = Inputs::default();
        let input = inputs.index(stage.state.files).map(FileInput::Input);
        let user = stage.state.image.config.user.as_str();
        let action = FileAction {
            input,
            secondary: None,
            output: Some(0),
            kind: FileActionKind::MkDir(MkDir {
                path: clean_path(dir),
                mode: 0o755,
                make_parents: true,
                timestamp: self.options.epoch.map(Timestamp::unix_nanoseconds),
                owner: (!user.is_empty()).then(|| owner(user, None)),
            }),
        };
        let text = self.step_text(stage, &instruction.text);
        let name = self.step_name(stage, &text);
        // A directory that is there is left alone: the cache cannot be wrong.
        let mut metadata = self.metadata(stage, name, instruction.lines);
        metadata.ignore_cache = false;
        let op = Op::File(vec![action]);
        let platform = stage.platform.clone();
        stage.state.files = Some(self.plan.op(op, inputs.into_vec(), platform, metadata));
    }
}

#[cfg(test)]
mod tests {
    use super::{destination, joined};

    #[test]
    fn destinations_keep_what_says_that_they_are_directories() {
        for (dir, path, wanted) in [
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/", ".", "/"),
            ("/w", "a/.", "/w/a/."),
            ("/w", "../x", "/x"),
            ("/w", "/a/../b", "/b"),
            ("/w", "/", "/"),
        ] {
            assert_eq!(destination(dir, path), wanted, "{dir} {path}");
        }
        assert_eq!(joined("", "a"), "/a");
    }
}
