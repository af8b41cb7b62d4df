//! A flow that only looks, and whose answer is a table: nothing is shown while it is at work but who is waited for.

use std::sync::{Arc, Mutex, PoisonError};

use muster_app::{Ended, Flow, Job, Listener, Project, RunOptions, Selection};
use muster_engine::event::Event;
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machines::{SILENCE, tell_missing};
use crate::output::{CommandLine, advice, print, text};
use crate::runtime::runtime;

/// Sends the hosts of a flow through its plays. Warnings and failures are told beside the answer.
///
/// # Errors
/// What is wrong before any machine is contacted.
pub(crate) fn look(
    flow: Flow,
    project: Project,
    inventory: &InventoryArgs,
    connection: &ConnectionArgs,
    environment: &Environment,
) -> Result<Ended, CommandError> {
    let frontend = CommandLine::plain(environment);
    let job = Job {
        flow,
        project,
        variables: inventory.into(),
        connection: connection.into(),
        selection: Selection::default(),
        options: RunOptions::default(),
    };
    let mut ready = job.scope(environment, &*frontend)?.prepare(environment, &frontend)?;
    let hosts = ready.outline.hosts.clone();
    let done = Arc::new(Mutex::new(Vec::new()));
    let heard = done.clone();
    let listener: Listener = Box::new(move |event| {
        if let Event::HostDone { host } | Event::HostFailed { host, .. } = event {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(host.clone());
        }
    });
    let ended = runtime()?.block_on(async {
        let cancel = CancellationToken::new();
        let mut execution = std::pin::pin!(ready.perform(false, &cancel, vec![listener]));
        loop {
            match tokio::time::timeout(SILENCE, &mut execution).await {
                Ok(ended) => break ended,
                Err(_) => {
                    let done = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    tell_missing(&hosts, |host| done.iter().any(|name| name == host));
                }
            }
        }
    })?;
    for (host, failure) in ended.outcome.iter().filter_map(|(host, o)| Some((host, o.failure.as_ref()?))) {
        print::note(&format!("{host}: {}", text::harmless(&failure.to_string())));
        if let Some(hint) = advice::hint(failure.remedy()) {
            print::note(&format!("hint: {}", text::harmless(&hint)));
        }
    }
    Ok(ended)
}
