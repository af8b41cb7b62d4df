//! preflight.

use muster_engine::prelude::*;

pub(crate) async fn run(_host: &Host) -> Result<()> {
    Ok(())
}
