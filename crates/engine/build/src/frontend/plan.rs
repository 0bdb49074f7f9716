//! The graph while it is being made. Which files of the build context are needed is known at the end
//! only, so contexts stay open here until [`Plan::finish`] gives them.

use std::sync::Arc;

use arca_types::Platform;

use crate::graph::{Edge, Metadata, Op, Vertex};

/// A tree of files that is being planned; `None` is an empty one.
pub(super) type Files = Option<Planned>;

/// An output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned(usize);

/// A tree whose description is not complete yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// The build context.
    Context,
    /// A directory of the client that stands for the stage with this number.
    Named(usize),
}

#[derive(Debug)]
enum Node {
    Op {
        op: Box<Op>,
        inputs: Vec<Planned>,
        platform: Option<Platform>,
        metadata: Box<Metadata>,
    },
    Given(Edge),
    Open(Open),
}

/// Nodes in an order in which each comes after its inputs. A node has one output that counts: the
/// first.
#[derive(Debug, Default)]
pub(super) struct Plan {
    nodes: Vec<Node>,
}

impl Plan {
    /// A tree that exists.
    pub(super) fn given(&mut self, edge: Edge) -> Planned {
        self.push(Node::Given(edge))
    }

    /// A tree that is given at the end.
    pub(super) fn open(&mut self, open: Open) -> Planned {
        self.push(Node::Open(open))
    }

    /// What an operation makes.
    pub(super) fn op(
        &mut self,
        op: Op,
        inputs: Vec<Planned>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Planned {
        self.push(Node::Op {
            op: Box::new(op),
            inputs,
            platform,
            metadata: Box::new(metadata),
        })
    }

    fn push(&mut self, node: Node) -> Planned {
        self.nodes.push(node);
        Planned(self.nodes.len() - 1)
    }

    /// The graph below `root`; `give` has the open trees. `None` if an open tree is an empty one and
    /// `root` is just that.
    pub(super) fn finish(
        &self,
        root: Planned,
        give: impl Fn(Open) -> Option<Edge>,
    ) -> Option<Edge> {
        let needed = self.needed(root);
        let mut made: Vec<Option<Edge>> = Vec::with_capacity(self.nodes.len());
        for (node, needed) in self.nodes.iter().zip(needed) {
            made.push(match node {
                _ if !needed => None,
                Node::Given(edge) => Some(edge.clone()),
                Node::Open(open) => give(*open),
                Node::Op {
                    op,
                    inputs,
                    platform,
                    metadata,
                } => {
                    let inputs = inputs.iter().filter_map(|input| made.get(input.0)?.clone());
                    let inputs = inputs.collect();
                    let metadata = Metadata::clone(metadata);
                    let vertex = Vertex::new(Op::clone(op), inputs, platform.clone(), metadata);
                    Some(Arc::clone(&vertex).output(0))
                }
            });
        }
        made.into_iter().nth(root.0).flatten()
    }

    /// Which nodes `root` is made of.
    fn needed(&self, root: Planned) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        let mut open = vec![root];
        while let Some(Planned(at)) = open.pop() {
            let Some(seen) = needed.get_mut(at) else {
                continue;
            };
            if !std::mem::replace(seen, true)
                && let Some(Node::Op { inputs, .. }) = self.nodes.get(at)
            {
                open.extend(inputs);
            }
        }
        needed
    }
}

/// The inputs of one operation, each once.
#[derive(Debug, Default)]
pub(super) struct Inputs(Vec<Planned>);

impl Inputs {
    /// The index of `files` among the inputs; `None` for an empty tree.
    pub(super) fn index(&mut self, files: Files) -> Option<usize> {
        let files = files?;
        let known = self.0.iter().position(|input| *input == files);
        Some(known.unwrap_or_else(|| {
            self.0.push(files);
            self.0.len() - 1
        }))
    }

    /// All of them, in order.
    pub(super) fn into_vec(self) -> Vec<Planned> {
        self.0
    }
}
