//! Container Linux Configs: the format before Butane, which has no `variant`. It becomes a configuration of Ignition's
//! specification 2.3, which Flatcar still reads.

mod rules;
mod tables;
mod translate;

use serde_json::Value;

use crate::local_files::LocalFiles;
use crate::mistake::Mistake;
use crate::rules::Rules;
use crate::shape::{self, Edition, Item};
use crate::yaml::Node;

/// There is one.
const EDITION: Edition = Edition { name: "Container Linux Config", generation: 1, first_with: |_| None };

/// Reads a configuration: what was written, and what it becomes.
pub(crate) fn read(node: &Node, files: &LocalFiles, found: &mut Vec<Mistake>) -> (Item, Value) {
    let whole = shape::check(node, &tables::CONFIGURATION, EDITION, found);
    rules::check(&whole, &mut Rules { found });
    let config = translate::translate(&whole, files, found);
    (whole, config)
}
