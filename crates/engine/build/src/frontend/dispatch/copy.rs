//! `COPY` and `ADD`: one vertex with a copy for each source.

use arca_dockerfile::{Add, Copy, Document, Instruction, Transfer, git_url, mode};

use super::workdir;
use crate::Error;
use crate::frontend::convert::Converter;
use crate::frontend::plan::{Files, Inputs};
use crate::frontend::stage::{Command, Stage};
use crate::graph::{
    self, FileAction, FileActionKind, FileInput, Metadata, MkFile, Mode, Op, Owner, OwnerName,
    ProgressGroup,
};

/// What differs between `COPY` and `ADD`.
pub(super) struct Way<'a> {
    pub(super) keyword: &'static str,
    /// `None` for the build context.
    pub(super) stage: Option<usize>,
    /// Where the sources are.
    pub(super) files: Files,
    pub(super) parents: bool,
    pub(super) add: Option<&'a Add>,
}

/// The copies of one instruction while they are collected.
pub(super) struct Copies {
    pub(super) inputs: Inputs,
    actions: Vec<FileAction>,
    /// The tree that the first copy begins with.
    base: Option<FileInput>,
    /// What all copies have in common.
    pub(super) template: graph::Copy,
}

impl Copies {
    /// Adds a copy of `source` in `files`.
    pub(super) fn push(&mut self, files: Files, copy: graph::Copy) {
        let secondary = self.inputs.index(files).map(FileInput::Input);
        let input = match self.actions.len().checked_sub(1) {
            Some(before) => Some(FileInput::Action(before)),
            None => self.base,
        };
        let kind = FileActionKind::Copy(Box::new(copy));
        self.actions.push(FileAction {
            input,
            secondary,
            output: None,
            kind,
        });
    }

    fn finish(mut self) -> (Op, Inputs) {
        if let Some(last) = self.actions.last_mut() {
            last.output = Some(0);
        }
        (Op::File(self.actions), self.inputs)
    }
}

/// `user:group` by names or numbers.
pub(super) fn owner(text: &str, input: Option<FileInput>) -> Owner {
    let name = |text: &str| match text.parse::<u32>() {
        Ok(id) => OwnerName::Id(id),
        Err(_not_a_number) if text == "root" => OwnerName::Id(0),
        Err(_not_a_number) => OwnerName::Name {
            name: text.to_owned(),
            input,
        },
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    Owner {
        user: Some(name(user)),
        group: group.map(name),
    }
}

impl Converter<'_> {
    pub(super) fn copy(
        &mut self,
        stage: &mut Stage,
        command: &Command,
        copy: &Copy,
    ) -> Result<(), Error> {
        let instruction = &command.instruction;
        let transfer = self.expand_transfer(stage, instruction.lines, &copy.transfer)?;
        let source = command.sources.first().copied();
        let files = match source {
            Some(source) => self.files_of(source).ok_or_else(|| {
                let text = format!(
                    "cannot copy from stage {:?}, it needs to be defined before current stage {:?}",
                    copy.from, stage.label
                );
                Error::Invalid(text)
            })?,
            None => Some(self.context),
        };
        let way = Way {
            keyword: "COPY",
            stage: source,
            files,
            parents: copy.parents,
            add: None,
        };
        self.transfer(stage, instruction, &transfer, &way)?;
        for path in &transfer.sources {
            match source {
                Some(source) => self.stages.takes(source, path),
                None => self.takes_of_context(path),
            }
        }
        Ok(())
    }

    pub(super) fn add(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        add: &Add,
    ) -> Result<(), Error> {
        let transfer = self.expand_transfer(stage, instruction.lines, &add.transfer)?;
        let checksum = self.expand(stage, instruction.lines, &add.checksum)?;
        let add = Add {
            checksum,
            ..add.clone()
        };
        let files = Some(self.context);
        let way = Way {
            keyword: "ADD",
            stage: None,
            files,
            parents: false,
            add: Some(&add),
        };
        self.transfer(stage, instruction, &transfer, &way)?;
        for path in &transfer.sources {
            if !path.starts_with("http://") && !path.starts_with("https://") {
                self.takes_of_context(path);
            }
        }
        Ok(())
    }

    /// Notes that a path of the build context is needed.
    pub(super) fn takes_of_context(&mut self, path: &str) {
        self.context_paths
            .insert(crate::frontend::naming::rooted(path));
    }

    /// The files of a stage that has been converted.
    pub(super) fn files_of(&self, number: usize) -> Option<Files> {
        let stage = self.stages.get(number)?;
        stage.done.then_some(stage.state.files)
    }

    fn transfer(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        transfer: &Transfer,
        way: &Way<'_>,
    ) -> Result<(), Error> {
        check_checksum(transfer, way.add)?;
        let link = transfer.link && transfer.chmod.is_empty();
        let mut inputs = Inputs::default();
        let base = if link {
            None
        } else {
            inputs.index(stage.state.files)
        };
        let base = base.map(FileInput::Input);
        let template = graph::Copy {
            destination: workdir::destination(&stage.state.dir, &transfer.destination),
            owner: (!transfer.chown.is_empty()).then(|| owner(&transfer.chown, None)),
            mode: permissions(&transfer.chmod)?,
            create_dest_path: true,
            exclude: transfer.exclude.clone(),
            ..graph::Copy::default()
        };
        let text = self.step_text(stage, &instruction.text);
        let name = self.step_name(stage, &text);
        let mut copies = Copies {
            inputs,
            actions: Vec::new(),
            base,
            template,
        };
        for source in &transfer.sources {
            self.copy_source(instruction, way, source, (&name, &mut copies))?;
        }
        for document in &transfer.documents {
            self.copy_document(stage, document, &mut copies);
        }
        let metadata = self.metadata(stage, name, instruction.lines);
        let (op, inputs) = copies.finish();
        if link {
            self.linked(stage, &text, (op, inputs), metadata);
        } else {
            let platform = stage.platform.clone();
            stage.state.files = Some(self.plan.op(op, inputs.into_vec(), platform, metadata));
        }
        self.note(stage, history(transfer, way), true);
        Ok(())
    }

    /// A here-document is a file of its own that is copied.
    fn copy_document(&mut self, stage: &Stage, document: &Document, copies: &mut Copies) {
        let path = crate::frontend::naming::rooted(&document.name);
        let file = self.document(stage, &path, 0o644, document.text.clone().into_bytes());
        let copy = graph::Copy {
            source: path,
            ..copies.template.clone()
        };
        copies.push(file, copy);
    }

    /// A tree with one file.
    pub(super) fn document(
        &mut self,
        stage: &Stage,
        path: &str,
        mode: u32,
        data: Vec<u8>,
    ) -> Files {
        let file = MkFile {
            path: path.to_owned(),
            mode,
            data,
            ..MkFile::default()
        };
        let kind = FileActionKind::MkFile(file);
        let action = FileAction {
            input: None,
            secondary: None,
            output: Some(0),
            kind,
        };
        let metadata = crate::frontend::named("[internal] preparing inline document");
        let op = Op::File(vec![action]);
        Some(
            self.plan
                .op(op, Vec::new(), stage.platform.clone(), metadata),
        )
    }

    /// `--link`: the files are a layer of their own, whatever is below.
    fn linked(
        &mut self,
        stage: &mut Stage,
        text: &str,
        (op, inputs): (Op, Inputs),
        metadata: Metadata,
    ) {
        let (platform, env) = (self.shown_platform(stage), stage.state.env.clone());
        let group = |weak| {
            let id = format!("link-{}-{}", stage.label, stage.step);
            Some(ProgressGroup {
                id,
                name: metadata.name.clone(),
                weak,
            })
        };
        let copied = Metadata {
            progress_group: group(true),
            ..metadata.clone()
        };
        let files = self
            .plan
            .op(op, inputs.into_vec(), stage.platform.clone(), copied);
        // On top of nothing there is nothing to be linked.
        let Some(below) = stage.state.files else {
            stage.state.files = Some(files);
            return;
        };
        let text = format!("LINK {text}");
        let merged = Metadata {
            name: stage.step_name_again(&text, platform.as_ref(), Some(&env)),
            progress_group: group(false),
            ..metadata.clone()
        };
        let platform = stage.platform.clone();
        stage.state.files = Some(
            self.plan
                .op(Op::Merge, vec![below, files], platform, merged),
        );
    }
}

/// A checksum is for one file from elsewhere.
fn check_checksum(transfer: &Transfer, add: Option<&Add>) -> Result<(), Error> {
    if add.is_none_or(|add| add.checksum.is_empty()) {
        return Ok(());
    }
    let [source] = transfer.sources.as_slice() else {
        return Err(Error::Invalid(
            "checksum can't be specified for multiple sources".to_owned(),
        ));
    };
    let web = source.starts_with("http://") || source.starts_with("https://");
    let git = matches!(git_url(source), Ok(Some(url)) if !url.looks_local);
    if web || git {
        return Ok(());
    }
    Err(Error::Invalid(
        "checksum requires HTTP(S) or Git sources".to_owned(),
    ))
}

fn permissions(text: &str) -> Result<Option<Mode>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        match mode(text).map_err(|error| Error::Invalid(error.to_string()))? {
            arca_dockerfile::Mode::Octal(bits) => Mode::Bits(bits),
            arca_dockerfile::Mode::Symbolic(_) => Mode::Symbolic(text.to_owned()),
        },
    ))
}

/// What the image's history says.
fn history(transfer: &Transfer, way: &Way<'_>) -> String {
    let mut said = way.keyword.to_owned();
    if way.parents {
        said.push_str(" --parents");
    }
    if !transfer.chown.is_empty() {
        said.push_str(&format!(" --chown={}", transfer.chown));
    }
    if !transfer.chmod.is_empty() {
        said.push_str(&format!(" --chmod={}", transfer.chmod));
    }
    for source in &transfer.sources {
        said.push_str(&format!(" {source}"));
    }
    for document in &transfer.documents {
        said.push_str(&format!(" <<{}", document.name));
    }
    format!("{said} {} # buildkit", transfer.destination)
}
