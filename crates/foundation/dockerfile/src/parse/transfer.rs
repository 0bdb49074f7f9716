//! `COPY` and `ADD`.

use super::flags::{FlagKind, Flags};
use super::instruction::words;
use super::source::Statement;
use crate::error::Error;
use crate::heredoc::heredoc;
use crate::instruction::{Add, Copy, Document, Kind, Transfer};

/// Checks an `ADD`.
pub(super) fn add(statement: &Statement) -> Result<Kind, Error> {
    let allowed = [
        ("chown", FlagKind::Text),
        ("chmod", FlagKind::Text),
        ("link", FlagKind::Bool),
        ("keep-git-dir", FlagKind::Bool),
        ("checksum", FlagKind::Text),
        ("unpack", FlagKind::Bool),
        ("exclude", FlagKind::List),
    ];
    let (flags, transfer) = transfer(statement, "ADD", &allowed)?;
    Ok(Kind::Add(Add {
        transfer,
        checksum: flags.text_or_empty("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
    }))
}

/// Checks a `COPY`.
pub(super) fn copy(statement: &Statement) -> Result<Kind, Error> {
    let allowed = [
        ("chown", FlagKind::Text),
        ("from", FlagKind::Text),
        ("chmod", FlagKind::Text),
        ("link", FlagKind::Bool),
        ("exclude", FlagKind::List),
        ("parents", FlagKind::Bool),
    ];
    let (flags, transfer) = transfer(statement, "COPY", &allowed)?;
    Ok(Kind::Copy(Copy {
        transfer,
        from: flags.text_or_empty("from"),
        parents: flags.boolean("parents").unwrap_or_default(),
    }))
}

fn transfer(
    statement: &Statement,
    keyword: &'static str,
    allowed: &[(&'static str, FlagKind)],
) -> Result<(Flags, Transfer), Error> {
    let [sources @ .., destination] = words(statement) else {
        return Err(Error::NoDestination(keyword));
    };
    if sources.is_empty() {
        return Err(Error::NoDestination(keyword));
    }
    let flags = Flags::parse(&statement.flags, allowed)?;
    // A word that cannot be read as a here-document's is a path.
    let document = |word: &str| heredoc(word).ok().flatten();
    if document(destination).is_some() {
        return Err(Error::HeredocDestination(keyword));
    }
    let mut transfer = Transfer {
        destination: destination.clone(),
        chown: flags.text_or_empty("chown"),
        chmod: flags.text_or_empty("chmod"),
        link: flags.boolean("link").unwrap_or_default(),
        exclude: flags.list("exclude"),
        ..Transfer::default()
    };
    for source in sources {
        match document(source) {
            Some(opened) => {
                // Of two with one name both have the text of the last.
                let read = statement
                    .heredocs
                    .iter()
                    .rev()
                    .find(|doc| doc.name == opened.name);
                let text = read.map(|doc| doc.text()).unwrap_or_default();
                let expand = opened.expand;
                transfer.documents.push(Document {
                    name: opened.name,
                    text,
                    expand,
                });
            }
            None => transfer.sources.push(source.clone()),
        }
    }
    Ok((flags, transfer))
}
