//! The container engine's command line, and nothing of it anywhere else. Docker's now; Docker 20.10 is the oldest
//! that was tried.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::Error;
use crate::config::name_of_lab;
use crate::maker::{Control, MachineState};
use crate::program::{self, Finished, command};
use crate::progress::Step;

const PROGRAM: &str = "docker";
/// Most commands take less than a second; a busy disk takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// An image of 180 MB takes 2 s.
const IMPORT_LIMIT: Duration = Duration::from_secs(600);
/// What it says while it goes on with a command whose sender was killed: it makes a container to the end, or takes
/// back what it has made of it.
const BUSY: [&str; 4] =
    ["No such container", "is already in use", "has active endpoints", "already in progress"];
/// The label of everything that belongs to a lab, with the lab's name.
const LAB_LABEL: &str = "muster.lab";
/// The label of a container, with the machine's name.
const MACHINE_LABEL: &str = "muster.machine";

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Engine(());

/// A machine as the engine must make it.
pub(super) struct Container<'a> {
    pub(super) lab: &'a str,
    pub(super) name: &'a str,
    pub(super) address: Ipv4Addr,
    pub(super) image: &'a str,
    /// For the engine's own resolver in the container, so that it asks nobody else; nothing uses it.
    pub(super) resolver: Ipv4Addr,
    pub(super) memory_mib: Option<u64>,
    /// Capabilities that the machine shall not have, without the prefix `CAP_`.
    pub(super) without_capabilities: &'a [&'static str],
    pub(super) environment: &'a [(&'static str, String)],
    /// Run by `sh -c` as process 1; ends with `exec /sbin/init`.
    pub(super) boot_script: &'a str,
}

fn container_name(lab: &str, machine: &str) -> String {
    format!("{}-{machine}", name_of_lab(lab))
}

/// A network of the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EngineNetwork {
    pub(super) name: String,
    /// The lab it belongs to, if it is a lab's.
    pub(super) lab: Option<String>,
    pub(super) subnets: Vec<Ipv4Net>,
}

impl Engine {
    /// Finds the engine and makes sure that it answers.
    ///
    /// # Errors
    /// [`Error::MissingProgram`], [`Error::EngineDown`].
    pub fn connect() -> Result<Self, Error> {
        let version = command(PROGRAM, ["version", "--format", "{{.Server.Version}}"]);
        let finished =
            program::finish("docker version", version, LIMIT, |_| {}).map_err(|error| match error {
                Error::Failed { ref status, .. } if status == "not started" => {
                    Error::MissingProgram { program: PROGRAM, why: "to run machines", package: "docker.io" }
                }
                other => other,
            })?;
        if finished.status.success() {
            Ok(Self(()))
        } else {
            Err(Error::EngineDown { detail: finished.tail().replace('\n', " ") })
        }
    }

    /// All networks, whoever made them.
    pub(super) fn networks(&self) -> Result<Vec<EngineNetwork>, Error> {
        let ids = self.run(["network", "ls", "--quiet", "--no-trunc"])?;
        let mut networks = Vec::new();
        for id in ids.lines() {
            // One by one, because another lab's network may go away between the two commands.
            let finished = self.try_run(["network", "inspect", id])?;
            if finished.status.success() {
                networks.extend(parse_networks(&finished.stdout)?);
            }
        }
        Ok(networks)
    }

    /// Makes the lab's network on a link of the host, where it has no more neighbours than that link has.
    pub(super) fn create_network(
        &self,
        lab: &str,
        link: &str,
        subnet: Ipv4Net,
        router: Ipv4Addr,
    ) -> Result<(), Error> {
        let (subnet, router) = (format!("--subnet={subnet}"), format!("--gateway={router}"));
        let (parent, label) = (format!("--opt=parent={link}"), format!("--label={LAB_LABEL}={lab}"));
        self.run([
            "network",
            "create",
            "--driver=macvlan",
            &parent,
            &subnet,
            &router,
            &label,
            &name_of_lab(lab),
        ])?;
        Ok(())
    }

    pub(super) fn remove_network(&self, lab: &str) -> Result<(), Error> {
        self.run(["network", "rm", &name_of_lab(lab)]).map(drop)
    }

    /// The lab's machines that exist, with their states.
    pub(super) fn machines(&self, lab: &str) -> Result<Vec<(String, MachineState)>, Error> {
        let filter = format!("--filter=label={LAB_LABEL}={lab}");
        let format = format!("--format={{{{.Label \"{MACHINE_LABEL}\"}}}} {{{{.State}}}}");
        Ok(parse_machines(&self.run(["ps", "--all", &filter, &format])?))
    }

    /// Makes a machine and switches it on.
    pub(super) fn create(&self, container: &Container<'_>) -> Result<(), Error> {
        let what = format!("docker run {}", container_name(container.lab, container.name));
        program::output(&what, command(PROGRAM, run_arguments(container)), LIMIT).map(drop).map_err(busy_or)
    }

    /// Switches a machine on, off, and so on. `stop` waits 10 s for the machine.
    pub(super) fn control(&self, control: Control, lab: &str, machine: &str) -> Result<(), Error> {
        let verb = match control {
            Control::Start => "start",
            Control::Stop => "stop",
            Control::Kill => "kill",
            Control::Restart => "restart",
            Control::Pause => "pause",
            Control::Unpause => "unpause",
        };
        self.run([verb, &container_name(lab, machine)]).map(drop)
    }

    /// Removes machines with their disks, running or not.
    pub(super) fn remove(&self, lab: &str, machines: &[&str]) -> Result<(), Error> {
        let names = machines.iter().map(|machine| container_name(lab, machine));
        let arguments = ["rm", "--force", "--volumes"].into_iter().map(str::to_owned).chain(names);
        program::output("docker rm", command(PROGRAM, arguments), LIMIT).map(drop).map_err(busy_or)
    }

    /// A command that runs a program inside a machine that is on, without SSH. It is a child of ours, unlike with the
    /// engine's own `exec`, and so ends when the user interrupts it.
    pub(super) fn inside(&self, lab: &str, machine: &str, program: &str) -> Result<Command, Error> {
        let pid = self.run(["inspect", "--format={{.State.Pid}}", &container_name(lab, machine)])?;
        Ok(command("nsenter", ["--all", "--target", pid.trim(), "--", program]))
    }

    pub(super) fn has_image(&self, image: &str) -> Result<bool, Error> {
        Ok(!self.run(["images", "--quiet", image])?.trim().is_empty())
    }

    /// Makes an image of a root file system in a tar archive.
    pub(super) fn import_image(&self, archive: &Path, image: &str, step: Step<'_>) -> Result<(), Error> {
        let mut import = command(PROGRAM, ["import"]);
        import.arg(archive).arg(image);
        let detail = format!("importing {}", archive.display());
        step.say(&detail);
        let finished = program::finish("docker import", import, IMPORT_LIMIT, |_| step.say(&detail))?;
        if finished.status.success() { Ok(()) } else { Err(program::failed("docker import", &finished)) }
    }

    /// The images of a repository, as `repository:tag`.
    pub(super) fn images(&self, repository: &str) -> Result<Vec<String>, Error> {
        let images = self.run(["images", "--format={{.Repository}}:{{.Tag}}", repository])?;
        Ok(images.lines().map(str::to_owned).collect())
    }

    /// Removes an image unless a container is made of it; says whether it is gone.
    pub(super) fn remove_unused_image(&self, image: &str) -> Result<bool, Error> {
        let users = self.run(["ps", "--all", "--quiet", &format!("--filter=ancestor={image}")])?;
        if !users.trim().is_empty() {
            return Ok(false);
        }
        self.run(["rmi", image])?;
        Ok(true)
    }

    fn run<const N: usize>(&self, arguments: [&str; N]) -> Result<String, Error> {
        program::output(&described(&arguments), command(PROGRAM, arguments), LIMIT).map_err(busy_or)
    }

    fn try_run<const N: usize>(&self, arguments: [&str; N]) -> Result<Finished, Error> {
        program::finish(&described(&arguments), command(PROGRAM, arguments), LIMIT, |_| {})
    }
}

/// The command that shows what a machine has written to its console.
pub(super) fn console(lab: &str, machine: &str) -> Command {
    command(PROGRAM, ["logs", &container_name(lab, machine)])
}

/// A refusal that passes is told apart from others.
fn busy_or(error: Error) -> Error {
    match error {
        Error::Failed { what, tail, .. } if BUSY.iter().any(|text| tail.contains(text)) => {
            Error::Busy { what, tail }
        }
        other => other,
    }
}

/// The deed without its options, for messages.
fn described(arguments: &[&str]) -> String {
    let words: Vec<&str> = arguments.iter().filter(|word| !word.starts_with('-')).copied().collect();
    format!("{PROGRAM} {}", words.join(" "))
}

fn run_arguments(container: &Container<'_>) -> Vec<String> {
    let Container { lab, name, address, image, resolver, memory_mib, .. } = container;
    let mut arguments: Vec<String> = vec![
        "run".into(),
        "--detach".into(),
        // An image that is missing must never be looked for on the internet.
        "--pull=never".into(),
        format!("--name={}", container_name(lab, name)),
        format!("--hostname={name}"),
        format!("--label={LAB_LABEL}={lab}"),
        format!("--label={MACHINE_LABEL}={name}"),
        format!("--network={}", name_of_lab(lab)),
        format!("--ip={address}"),
        format!("--dns={resolver}"),
        // systemd's signal for halting; and a `reboot` inside comes up again.
        "--stop-signal=SIGRTMIN+3".into(),
        "--restart=on-failure".into(),
        // All that --privileged gives, but for the host's devices, and on hosts that lack a capability too.
        "--cap-add=ALL".into(),
        "--security-opt=seccomp=unconfined".into(),
        "--security-opt=apparmor=unconfined".into(),
        "--security-opt=label=disable".into(),
        "--security-opt=systempaths=unconfined".into(),
        "--device-cgroup-rule=a *:* rwm".into(),
        "--cgroupns=private".into(),
        "--tmpfs=/run".into(),
        "--tmpfs=/run/lock".into(),
        "--tmpfs=/tmp:exec".into(),
        // A disk of its own, because overlayfs, which containerd uses, cannot lie on overlayfs, which the image is.
        "--volume=/var".into(),
        "--env=container=docker".into(),
    ];
    arguments.extend(container.without_capabilities.iter().map(|name| format!("--cap-drop={name}")));
    if let Some(memory) = memory_mib {
        arguments.extend([format!("--memory={memory}m"), format!("--memory-swap={memory}m")]);
    }
    arguments.extend(container.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    arguments.extend(["--entrypoint=/bin/sh", image, "-c", container.boot_script].map(str::to_owned));
    arguments
}

fn parse_machines(lines: &str) -> Vec<(String, MachineState)> {
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, state)| {
            let state = match state {
                "running" => MachineState::Running,
                "paused" => MachineState::Paused,
                "restarting" => MachineState::Restarting,
                "created" => MachineState::Unfinished,
                _ => MachineState::Stopped,
            };
            (name.to_owned(), state)
        })
        .collect()
}

fn parse_networks(json: &str) -> Result<Vec<EngineNetwork>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        name: String,
        labels: Option<std::collections::BTreeMap<String, String>>,
        #[serde(rename = "IPAM")]
        addresses: Addresses,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Addresses {
        config: Option<Vec<Pool>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pool {
        subnet: Option<String>,
    }
    let inspected: Vec<Inspected> = serde_json::from_str(json).map_err(|error| Error::Failed {
        what: "docker network inspect".to_owned(),
        status: "unexpected answer".to_owned(),
        tail: error.to_string(),
    })?;
    Ok(inspected
        .into_iter()
        .map(|network| EngineNetwork {
            name: network.name,
            lab: network.labels.and_then(|mut labels| labels.remove(LAB_LABEL)),
            // IPv6 pools do not parse, and cannot be in our way.
            subnets: (network.addresses.config.unwrap_or_default().into_iter())
                .filter_map(|pool| pool.subnet?.parse().ok())
                .collect(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_run_with_what_it_needs_and_never_pulled() {
        let arguments = run_arguments(&Container {
            lab: "course",
            name: "node1",
            address: Ipv4Addr::new(10, 146, 225, 4),
            image: "muster-lab-machine:debian12-0123",
            resolver: Ipv4Addr::new(10, 146, 225, 1),
            memory_mib: Some(512),
            without_capabilities: &["SYS_TIME"],
            environment: &[("LAB_HOSTNAME", "node1".to_owned())],
            boot_script: "exec /sbin/init",
        });
        for wanted in [
            "--pull=never",
            "--name=muster-lab-course-node1",
            "--network=muster-lab-course",
            "--ip=10.146.225.4",
            "--dns=10.146.225.1",
            "--cap-drop=SYS_TIME",
            "--memory=512m",
            "--memory-swap=512m",
            "--env=LAB_HOSTNAME=node1",
        ] {
            assert!(arguments.iter().any(|argument| argument == wanted), "{wanted} not in {arguments:?}");
        }
        let end: Vec<&str> = arguments.iter().rev().take(3).rev().map(String::as_str).collect();
        assert_eq!(end, ["muster-lab-machine:debian12-0123", "-c", "exec /sbin/init"]);
        assert!(!arguments.iter().any(|argument| argument == "--privileged"));
    }

    #[test]
    fn states_are_read() {
        let states =
            parse_machines("node1 running\nnode2 exited\nnode3 paused\nnode4 created\nnode5 restarting\n");
        let states: Vec<_> = states.into_iter().map(|(_, state)| state).collect();
        use MachineState::{Paused, Restarting, Running, Stopped, Unfinished};
        assert_eq!(states, [Running, Stopped, Paused, Unfinished, Restarting]);
    }

    #[test]
    fn networks_of_all_drivers_are_read() {
        let json = r#"[
            {"Name":"host","Labels":{},"IPAM":{"Driver":"default","Config":[]}},
            {"Name":"none","Labels":null,"IPAM":{"Driver":"default","Config":null}},
            {"Name":"muster-lab-x","Labels":{"muster.lab":"x"},
             "IPAM":{"Config":[{"Subnet":"10.146.225.0/24","Gateway":"10.146.225.1"},{"Subnet":"fd00::/64"}]}}]"#;
        let networks = parse_networks(json).unwrap();
        assert_eq!(networks.len(), 3);
        assert_eq!(networks[2].lab.as_deref(), Some("x"));
        assert_eq!(networks[2].subnets, ["10.146.225.0/24".parse::<Ipv4Net>().unwrap()]);
        assert!(parse_networks("surprise").unwrap_err().to_string().contains("unexpected answer"));
    }

    #[test]
    fn refusals_that_pass_are_told_apart() {
        let refusal =
            |tail: &str| busy_or(Error::Failed { what: "x".into(), status: "y".into(), tail: tail.into() });
        assert!(matches!(refusal("error: network x has active endpoints"), Error::Busy { .. }));
        assert!(matches!(refusal("no space left on device"), Error::Failed { .. }));
    }

    #[test]
    fn messages_leave_options_out() {
        assert_eq!(described(&["network", "rm", "--force", "x"]), "docker network rm x");
    }
}
