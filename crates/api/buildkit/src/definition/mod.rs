//! Definitions of clients (LLB, `solver/pb`) as graphs.
//!
//! A definition is a list of serialized operations, each named by the SHA-256 digest of its bytes; the last
//! one has a single input, the result. Their digests are kept, since clients find their vertices by them.

mod exec;
mod file;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use arca_build::graph::{Edge, Metadata, Op, Vertex};
use arca_types::Digest;
use prost::Message as _;
use sha2::Digest as _;
use tonic::Status;

use crate::build::Builds;
use crate::{convert, pb};

/// What stands for a tree that this engine has given a name (see [`of_shared`]).
const SHARED: &str = "arca-tree://";
/// The most operations of a definition.
const LIMIT: usize = 100_000;

fn invalid(text: impl Into<String>) -> Status {
    Status::invalid_argument(text)
}

/// A definition of one operation that stands for a tree of [`Builds::share`]: clients hand it back as an
/// input of another build.
pub(crate) fn of_shared(id: &str) -> pb::Definition {
    let source = pb::Op {
        op: Some(pb::op::Op::Source(pb::SourceOp {
            identifier: format!("{SHARED}{id}"),
            ..pb::SourceOp::default()
        })),
        ..pb::Op::default()
    };
    let source = source.encode_to_vec();
    let last = pb::Op {
        inputs: vec![pb::Input {
            digest: digest(&source).as_str().to_owned(),
            index: 0,
        }],
        ..pb::Op::default()
    };
    pb::Definition {
        def: vec![source, last.encode_to_vec()],
        ..pb::Definition::default()
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&sha2::Sha256::digest(bytes).into())
}

/// The result of a definition; `None` for an empty tree.
///
/// # Errors
/// `InvalidArgument` for what is no definition, `Unimplemented` for operations that are not known.
pub(crate) fn edge(definition: &pb::Definition, builds: &Builds) -> Result<Option<Edge>, Status> {
    if definition.def.len() > LIMIT {
        return Err(invalid("the definition has too many operations"));
    }
    let mut ops: HashMap<Digest, pb::Op> = HashMap::new();
    let mut last = None;
    for bytes in &definition.def {
        let op = pb::Op::decode(bytes.as_slice())
            .map_err(|error| invalid(format!("failed to parse llb proto op: {error}")))?;
        let digest = digest(bytes);
        ops.insert(digest.clone(), op);
        last = Some(digest);
    }
    let Some(last) = last else { return Ok(None) };
    let Some(op) = ops.get(&last) else {
        return Ok(None);
    };
    let Some(input) = op.inputs.first() else {
        return Ok(None);
    };
    let input = input.clone();
    let mut reader = Reader {
        definition,
        ops,
        made: HashMap::new(),
        builds,
    };
    reader.edge(&input).map(Some)
}

struct Reader<'a> {
    definition: &'a pb::Definition,
    ops: HashMap<Digest, pb::Op>,
    made: HashMap<Digest, Made>,
    builds: &'a Builds,
}

/// What came of an operation.
#[derive(Clone)]
enum Made {
    Vertex(Arc<Vertex>),
    Shared(Edge),
}

impl Reader<'_> {
    fn edge(&mut self, input: &pb::Input) -> Result<Edge, Status> {
        let digest = parse(&input.digest)?;
        self.make(&digest)?;
        self.output(&digest, input.index)
    }

    fn output(&self, digest: &Digest, index: i64) -> Result<Edge, Status> {
        let output = usize::try_from(index).map_err(|_error| invalid("an output below 0"))?;
        match self.made.get(digest) {
            Some(Made::Vertex(vertex)) => Ok(vertex.output(output)),
            Some(Made::Shared(edge)) => Ok(edge.clone()),
            None => Err(invalid(format!("missing input {digest}"))),
        }
    }

    /// Makes an operation after its inputs. A definition may be deep: this does not recurse.
    fn make(&mut self, wanted: &Digest) -> Result<(), Status> {
        let mut waiting = vec![(wanted.clone(), false)];
        while let Some((digest, inputs_made)) = waiting.pop() {
            if self.made.contains_key(&digest) {
                continue;
            }
            let missing = || invalid(format!("invalid missing input digest {digest}"));
            let op = self.ops.get(&digest).ok_or_else(missing)?;
            if inputs_made {
                let op = op.clone();
                let made = self.one(&digest, op)?;
                self.made.insert(digest, made);
                continue;
            }
            let inputs: Vec<Digest> = op
                .inputs
                .iter()
                .map(|input| parse(&input.digest))
                .collect::<Result<_, _>>()?;
            if waiting.len() > LIMIT {
                return Err(invalid("the definition leads in circles"));
            }
            waiting.push((digest, true));
            waiting.extend(inputs.into_iter().map(|input| (input, false)));
        }
        Ok(())
    }

    fn one(&self, digest: &Digest, op: pb::Op) -> Result<Made, Status> {
        if let Some(pb::op::Op::Source(source)) = &op.op
            && let Some(id) = source.identifier.strip_prefix(SHARED)
        {
            let edge = self.builds.shared(id);
            let missing = || Status::not_found(format!("the result {id} is not known any more"));
            return edge.map(Made::Shared).ok_or_else(missing);
        }
        let inputs = op
            .inputs
            .iter()
            .map(|input| self.output(&parse(&input.digest)?, input.index))
            .collect::<Result<Vec<_>, _>>()?;
        let platform = op.platform.as_ref().map(convert::platform);
        let kind = match op.op {
            Some(pb::op::Op::Source(op)) => Op::Source(source::source(&op)?),
            Some(pb::op::Op::Exec(op)) => Op::Exec(Box::new(exec::exec(op)?)),
            Some(pb::op::Op::File(op)) => Op::File(file::actions(op, inputs.len())?),
            Some(pb::op::Op::Merge(op)) => {
                let order: Vec<i64> = op.inputs.iter().map(|input| input.input).collect();
                if order
                    .iter()
                    .zip(0..)
                    .any(|(input, expected)| *input != expected)
                {
                    return Err(invalid("the inputs of a merge are out of order"));
                }
                Op::Merge
            }
            Some(pb::op::Op::Diff(op)) => Op::Diff {
                lower: index(op.lower.map_or(-1, |lower| lower.input)),
                upper: index(op.upper.map_or(-1, |upper| upper.input)),
            },
            Some(pb::op::Op::Build(_)) => {
                return Err(Status::unimplemented(
                    "nested definitions (BuildOp) are not supported",
                ));
            }
            None => return Err(invalid("invalid op type")),
        };
        let metadata = self.definition.metadata.get(digest.as_str());
        let metadata = metadata.cloned().map(metadata_of).unwrap_or_default();
        Ok(Made::Vertex(Vertex::with_digest(
            digest.clone(),
            kind,
            inputs,
            platform,
            metadata,
        )))
    }
}

fn metadata_of(metadata: pb::OpMetadata) -> Metadata {
    Metadata {
        name: String::new(),
        ignore_cache: metadata.ignore_cache,
        description: metadata.description,
        progress_group: metadata.progress_group.map(convert::group),
        location: None,
    }
}

fn parse(text: &str) -> Result<Digest, Status> {
    text.parse()
        .map_err(|_error| invalid(format!("invalid digest {text:?}")))
}

/// An index, where -1 is none.
fn index(number: i64) -> Option<usize> {
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(ops: &[pb::Op]) -> pb::Definition {
        pb::Definition {
            def: ops.iter().map(prost::Message::encode_to_vec).collect(),
            ..pb::Definition::default()
        }
    }

    fn image() -> pb::Op {
        pb::Op {
            op: Some(pb::op::Op::Source(pb::SourceOp {
                identifier: "docker-image://docker.io/library/busybox:latest".to_owned(),
                ..pb::SourceOp::default()
            })),
            ..pb::Op::default()
        }
    }

    fn input(op: &pb::Op) -> pb::Input {
        pb::Input {
            digest: digest(&op.encode_to_vec()).as_str().to_owned(),
            index: 0,
        }
    }

    #[test]
    fn a_definition_keeps_the_digests_of_its_operations() {
        let image = image();
        let exec = pb::Op {
            inputs: vec![input(&image)],
            op: Some(pb::op::Op::Exec(pb::ExecOp {
                meta: Some(pb::Meta {
                    args: vec!["true".to_owned()],
                    ..pb::Meta::default()
                }),
                mounts: vec![pb::Mount {
                    dest: "/".to_owned(),
                    ..pb::Mount::default()
                }],
                ..pb::ExecOp::default()
            })),
            ..pb::Op::default()
        };
        let last = pb::Op {
            inputs: vec![input(&exec)],
            ..pb::Op::default()
        };
        let builds = Builds::new(crate::history::History::new(Vec::new()));
        let edge = edge(&definition(&[image, exec.clone(), last]), &builds).unwrap();
        let edge = edge.unwrap();
        assert_eq!(edge.vertex.digest().as_str(), input(&exec).digest);
        assert_eq!(edge.vertex.inputs().len(), 1);
        assert_eq!(edge.vertex.name(), "true");
    }

    #[test]
    fn shared_trees_come_back() {
        let builds = Builds::new(crate::history::History::new(Vec::new()));
        let last = pb::Op {
            inputs: vec![input(&image())],
            ..pb::Op::default()
        };
        let tree = edge(&definition(&[image(), last]), &builds)
            .unwrap()
            .unwrap();
        let shared = of_shared(&builds.share(&tree));
        let back = edge(&shared, &builds).unwrap().unwrap();
        assert_eq!(back.vertex.digest(), tree.vertex.digest());
        assert!(edge(&of_shared("nowhere"), &builds).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let builds = Builds::new(crate::history::History::new(Vec::new()));
        assert!(edge(&pb::Definition::default(), &builds).unwrap().is_none());
        let lost = pb::Op {
            inputs: vec![input(&image())],
            ..pb::Op::default()
        };
        assert!(edge(&definition(&[lost]), &builds).is_err());
        let bytes = pb::Definition {
            def: vec![vec![0xff, 0xff, 0xff]],
            ..pb::Definition::default()
        };
        assert!(edge(&bytes, &builds).is_err());
    }
}
