//! The servers, made and waited for.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Creation, Shared};
use crate::client::Service;
use crate::kind::Kind;
use crate::machines::MachinesError;
use crate::parallel::each;
use crate::view::{Object, View};
use crate::wanted::Wanted;

/// How soon servers that are built are looked at again: ever less often, because some take minutes.
const FIRST_POLL: Duration = Duration::from_secs(2);
const LONGEST_POLL: Duration = Duration::from_secs(10);
/// How long servers are waited for since one of them last changed.
const PATIENCE: Duration = Duration::from_secs(900);

impl Creation<'_> {
    pub(super) fn servers(&self, ports: &[Object], shared: &Shared) -> Result<(), MachinesError> {
        self.remove_failed()?;
        let runs = |part: &str| {
            let mut there = self.there.iter().filter(|object| object.kind == Kind::Server);
            there.any(|server| server.part == part && !server.never_ran())
        };
        let missing: Vec<(&Wanted<'_>, &Object)> =
            self.wanted.iter().zip(ports).filter(|(machine, _)| !runs(&machine.part)).collect();
        let server = |(machine, port): &(&Wanted<'_>, &Object)| {
            let (mark, name) = (&self.machines.mark, machine.name(&self.machines.cluster));
            // A pool of a cloud's declaration always says what its machines are made with.
            let Some(made) = machine.pool.made() else { return Ok(()) };
            let mut body = json!({
                "name": name,
                "flavorRef": self.resolved.flavor(&made.flavor).id,
                "imageRef": self.resolved.image(&made.image).id,
                "key_name": shared.key,
                "networks": [{"port": port.id}],
                "metadata": mark.metadata(&machine.part),
                "tags": mark.tags(&machine.part),
            });
            if let Some(data) = &made.user_data {
                body["user_data"] = STANDARD.encode(data).into();
            }
            if let Some(zone) = &made.zone {
                body["availability_zone"] = zone.as_str().into();
            }
            self.make(Kind::Server, &machine.part, &name, body).map(drop)
        };
        each(&missing, server).into_iter().collect()
    }

    /// Removes what an earlier run could not bring up: it never was a machine.
    fn remove_failed(&self) -> Result<(), MachinesError> {
        let failed: Vec<&Object> = self.there.iter().filter(|object| object.never_ran()).collect();
        let remove = |server: &&Object| {
            self.tell(&format!("{} never ran: made anew", server.shown()));
            self.machines.session.delete(Service::Compute, &format!("/servers/{}", server.id))
        };
        each(&failed, remove).into_iter().collect::<Result<(), _>>()?;
        let left = self.machines.wait_until_gone(&failed)?;
        if left.is_empty() {
            return Ok(());
        }
        let line = |server: &Object| format!("{} is being deleted, but does not end", server.shown());
        Err(MachinesError::Left(left.iter().map(line).collect()))
    }

    /// Waits until all machines run.
    pub(super) fn wait(&self) -> Result<(), MachinesError> {
        let mut running = 0;
        let mut moved = Instant::now();
        let mut pause = FIRST_POLL;
        loop {
            let view = View::look_at(self.machines.session, &[Kind::Server])?;
            let servers = view.ours(Kind::Server, &self.machines.mark);
            let server_of = |machine: &Wanted<'_>| servers.iter().find(|server| server.part == machine.part);
            let state = |machine: &Wanted<'_>| server_of(machine).map_or("", |server| server.text("status"));
            let active = self.wanted.iter().filter(|machine| state(machine) == "ACTIVE").count();
            // A server that was made a moment ago may be in no list yet.
            let is_on_its_way =
                |machine: &&Wanted<'_>| matches!(state(machine), "BUILD" | "" | "REBOOT" | "HARD_REBOOT");
            if active > running {
                (running, moved) = (active, Instant::now());
                self.tell(&format!("{active} of {} machines run", self.wanted.len()));
            }
            if active == self.wanted.len() {
                return Ok(());
            }
            let pending = self.wanted.iter().filter(is_on_its_way).count();
            if pending == 0 || moved.elapsed() > PATIENCE {
                let words = |machine: &Wanted<'_>| {
                    let fault =
                        server_of(machine).and_then(|server| server.body["fault"]["message"].as_str());
                    let state = if state(machine).is_empty() { "is in no list" } else { state(machine) };
                    let why = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
                    format!(
                        "the machine {} does not run, but is {state}{why}",
                        machine.name(&self.machines.cluster)
                    )
                };
                let not_running = self.wanted.iter().filter(|machine| state(machine) != "ACTIVE").map(words);
                return Err(MachinesError::NotRunning(not_running.collect()));
            }
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(LONGEST_POLL);
        }
    }
}
