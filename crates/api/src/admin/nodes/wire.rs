use serde::Serialize;
use shared::{
    clock::iso,
    nodes::{Node, Sample},
};

/// `GET /api/admin/nodes`.
#[derive(Serialize)]
pub(super) struct Nodes {
    pub(super) success: bool,
    pub(super) nodes: Vec<NodeReply>,
}

/// A process.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReply {
    name: String,
    version: String,
    started_at: String,
    seen_at: String,
    samples: Vec<SampleReply>,
}

/// What it did in ten seconds.
#[derive(Serialize)]
struct SampleReply {
    at: String,
    requests: i64,
    faults: i64,
    messages: i64,
    people: i64,
}

impl From<Node> for NodeReply {
    fn from(node: Node) -> Self {
        Self {
            name: node.name,
            version: node.version,
            started_at: iso(node.started_at),
            seen_at: iso(node.seen_at),
            samples: node.samples.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Sample> for SampleReply {
    fn from(sample: Sample) -> Self {
        let Sample { at, requests, faults, messages, people } = sample;
        Self { at: iso(at), requests, faults, messages, people }
    }
}
