//! Docker Engine beside the containerd that Kubernetes uses, for people who use machines with docker(1). Kubernetes has nothing to do
//! with it: kubelets ask containerd, and Docker has its containers in the same containerd, in a namespace of its own.
//!
//! A machine's Docker is muster's or somebody else's, and which it is says a mark, which is there before anything of it and goes last.
//! What Docker keeps for its users (images, containers, volumes) is theirs, and is never removed.

mod daemon;
mod values;

use muster_engine::prelude::*;
use muster_engine::script::quote;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::artifact;
use crate::cluster;
use crate::common::{bin_dir, cluster_vars};
use crate::containerd::Wrong;
use crate::proxies;
use crate::unit::unit;

pub(crate) use daemon::{left_out, networks, wrong};

/// The artifact, and the service.
const NAME: &str = "docker";
const CONFIG: &str = "/etc/docker/daemon.json";
/// The configuration with which Docker has started last.
const STARTED: &str = "/etc/docker/daemon.json.started";
const UNIT: &str = "/etc/systemd/system/docker.service";
/// The proxies of Docker, in a file because everybody may see what a unit says (systemctl(1), show).
const PROXIES: &str = "/etc/docker/proxies.env";
/// Says that Docker is muster's, and which folder it has.
pub(crate) const MARK: &str = "/var/lib/muster/stamps/docker";
const PROGRAMS: [&str; 3] = ["docker", "docker-proxy", "dockerd"];

/// dockerd itself says whether it takes a configuration. It ends before it looks for what a configuration names (runtimes, networks, a
/// file system): whether Docker starts with it is seen then.
const CHECK: &str = r#"
said=$(dockerd --validate --config-file /dev/stdin 2>&1) || {
  printf '%s\n' "$said" 'Docker does not take what the variables docker_* say; it goes on with what it has' >&2
  exit 1
}"#;

/// Prints a line for each container of Docker's that runs and ends when Docker is restarted: none where it was started with
/// `--live-restore`. $1: containerd's folder of state; $2: the configuration with which Docker has started.
const ENDS_WITH_IT: &str = r#"
case $(cat "$2" 2>/dev/null) in
  *'"live-restore": true'*) ;;
  *)
    for task in "$1"/io.containerd.runtime.v2.task/moby/* "$1"/io.containerd.runtime.v2.task/moby-*/*; do
      [ ! -e "$task" ] || echo "$task"
    done
    ;;
esac"#;

#[derive(Deserialize)]
struct Vars {
    containerd_state_dir: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// Whether a machine's variables ask for Docker.
pub(crate) fn is_asked_for(vars: &HostVars) -> bool {
    vars.get("container_manager").ok().flatten().is_some_and(|value| value.as_str() == Some("docker"))
}

/// Docker is there where it is wanted, and runs.
pub(crate) async fn run(host: &Host) -> Result<()> {
    if !is_asked_for(host.all_vars()) {
        // The role `containerd` has seen to it.
        if host.cluster().has_role(host.name(), "containerd") {
            return Ok(());
        }
        cluster::may_set_up(host).await?;
        return host.step("Remove Docker").ensure(is_gone(host)?).await.map(drop);
    }
    cluster::may_set_up(host).await?;
    let bin = bin_dir(host)?;
    let daemon = daemon::daemon(host.all_vars()).map_err(Wrong::failure)?;
    let docker = artifact(host, NAME, &cluster_vars(host)?.kube_version)?;
    let programs =
        host.step("Install Docker")
            .ensure(is_ours(&daemon.folder))
            .ensure(PROGRAMS.into_iter().fold(archive(docker), |all, name| {
                all.member(format!("docker/{name}"), format!("{bin}/{name}"))
            }))
            .await?;

    let proxies = proxies::environment(host)?;
    let extra = json!({
        "bin_dir": bin,
        "folder": daemon.folder,
        "config": CONFIG,
        "started": STARTED,
        "proxies": proxies.as_ref().map(|_| PROXIES),
    });
    let text = host.render("docker.service.j2", include_str!("templates/docker.service.j2"), &extra)?;
    let config = host
        .step("Configure Docker")
        // Options of drivers of logs are tokens and the like.
        .ensure(file(CONFIG).secret(daemon.text).taken_by(CHECK))
        .ensure_all(proxies.as_ref().map(|text| file(PROXIES).secret(text).taken_by(proxies::CHECK)))
        .ensure(unit(UNIT, text))
        .await?;
    // Only where Docker restarts: to look is an exchange.
    if programs.changed || config.changed {
        let state = host.vars::<Vars>()?.containerd_state_dir;
        let seen = host.query(sh(ENDS_WITH_IT, [state.as_str(), STARTED])).await?.output.lines().count();
        if seen > 0 {
            host.warn(restarts(seen));
        }
    }
    let mut step = host.step("Run Docker");
    if proxies.is_none() {
        step = step.remove(file(PROXIES));
    }
    match step.ensure(service(NAME).restart_on(&[&programs, &config])).await {
        Err(Failure::Change { resource, status, tail }) => {
            let put_back = sh(include_str!("put_back.sh"), [CONFIG, STARTED]);
            let said =
                host.run("Docker as before", put_back, Duration::from_secs(120)).await.unwrap_or_default();
            Err(Failure::Change { resource, status, tail: format!("{tail}\n{said}").trim_end().to_owned() })
        }
        done => done.map(drop),
    }
}

/// What a restart does to containers.
fn restarts(containers: usize) -> String {
    format!(
        "what changes restarts Docker, and with it its containers that run ({containers}): those without a restart policy stay stopped, \
         and those with --rm are gone; from then on --live-restore in docker_options would keep them running"
    )
}

/// Nobody else's Docker is there, and it is noted that this one is muster's.
fn is_ours(folder: &str) -> Command {
    command(
        "Docker on this machine is muster's",
        sh(concat!(include_str!("anothers.sh"), include_str!("take.sh")), [MARK, folder]),
        sh(r#"[ "$(cat "$1" 2>/dev/null)" = "$2" ]"#, [MARK, folder]),
    )
}

/// Muster's Docker is not there. Where containers of it run it stays.
pub(crate) fn is_gone(host: &Host) -> Result<Command> {
    let vars: Vars = host.vars()?;
    gone(host, &vars.containerd_state_dir)
}

/// The same, and its containers are stopped.
pub(crate) fn is_gone_with_containers(host: &Host) -> Result<Command> {
    gone(host, "")
}

fn gone(host: &Host, state: &str) -> Result<Command> {
    let bin = bin_dir(host)?;
    let programs = PROGRAMS.into_iter().map(|name| format!("{bin}/{name}"));
    let arguments = [MARK, state].map(str::to_owned).into_iter().chain(programs);
    Ok(removal("Docker", sh(include_str!("remove.sh"), arguments), sh(r#"[ ! -e "$1" ]"#, [MARK])))
}

/// What a user types to remove what Docker keeps in its folder, and nothing else that is in it.
pub(crate) fn removal_of_data(folder: &str) -> String {
    format!(
        "cd {} && rm -rf buildkit btrfs containers engine-id fuse-overlayfs image network overlay2 plugins runtimes swarm vfs volumes zfs",
        quote(folder)
    )
}

/// The role `containerd`'s last step removes Docker where it is not wanted: a look of its own would be an exchange in every run.
pub(crate) fn removed_in<'h>(host: &'h Host, step: Step<'h>) -> Result<Step<'h>> {
    Ok(if is_asked_for(host.all_vars()) { step } else { step.ensure(is_gone(host)?) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const RULES: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
        -A POSTROUTING -j KUBE-POSTROUTING\n-A DOCKER -i docker0 -j RETURN\nCOMMIT\n\
        *mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n\
        *filter\n:FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -i br-0123456789ab -j ACCEPT\n\
        -A FORWARD -i br-1a -j ACCEPT\n-A DOCKER-USER -j RETURN\nCOMMIT\n";
    const GONE: &str = "*nat\n-D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n-F DOCKER\n-X DOCKER\nCOMMIT\n\
        *filter\n-D FORWARD -j DOCKER-USER\n-D FORWARD -i br-0123456789ab -j ACCEPT\n-F DOCKER-USER\n-X DOCKER-USER\nCOMMIT\n";

    const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

    #[test]
    fn what_docker_has_started_with_comes_back_where_it_does_not_start() {
        let rows = [
            ("", "good", "new", "new", ""),
            ("new", "good", "new", "new", ""),
            ("good", "good", "new", "good", "restart docker"),
            ("good", "good", "good", "good", ""),
            ("good", "", "new", "new", ""),
        ];
        for shell in SHELLS {
            for (runs_with, started, config, expected, restarts) in rows {
                let root = tempfile::tempdir().unwrap();
                let at = |name: &str| root.path().join(name);
                fs::write(at("config"), config).unwrap();
                if !started.is_empty() {
                    fs::write(at("started"), started).unwrap();
                }
                // Docker runs, or starts, with one configuration alone; with none named, with each.
                let program = format!(
                    "systemctl() {{ case $1 in -q) [ -z \"{runs_with}\" ] || [ \"$(cat \"$config\")\" = \"{runs_with}\" ] ;; \
                     restart) echo \"$*\" >>\"${{config%/*}}/said\" ;; esac; }}\nconfig=$1\n{}",
                    include_str!("put_back.sh")
                );
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &program, "sh"]).args([at("config"), at("started")]);
                let out = command.output().unwrap();
                assert!(out.status.success(), "{shell:?} {out:?}");
                let said = fs::read_to_string(at("said")).unwrap_or_default();
                let found = (fs::read_to_string(at("config")).unwrap(), said.trim().to_owned());
                assert_eq!(
                    found,
                    (expected.to_owned(), restarts.to_owned()),
                    "{shell:?} {runs_with} {started}"
                );
                assert_eq!(out.stdout.is_empty(), restarts.is_empty(), "{shell:?} {out:?}");
            }
        }
    }

    #[test]
    fn containers_that_end_with_a_restart_of_docker_are_counted() {
        for shell in SHELLS {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            let counted = || {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", super::ENDS_WITH_IT, "sh"]);
                let out = command.args([at("state"), at("started")]).output().unwrap();
                assert!(out.status.success(), "{shell:?} {out:?}");
                String::from_utf8(out.stdout).unwrap().lines().count()
            };
            assert_eq!(counted(), 0, "{shell:?}");
            for task in ["moby/0a", "moby/0b", "moby-1000.1000/0c", "k8s.io/0d"] {
                fs::create_dir_all(at("state/io.containerd.runtime.v2.task").join(task)).unwrap();
            }
            assert_eq!(counted(), 3, "{shell:?}");
            fs::write(at("started"), "{\n  \"live-restore\": false\n}\n").unwrap();
            assert_eq!(counted(), 3, "{shell:?}");
            fs::write(at("started"), "{\n  \"live-restore\": true\n}\n").unwrap();
            assert_eq!(counted(), 0, "{shell:?}");
        }
    }

    #[test]
    fn containers_that_outlive_docker_are_stopped_where_that_is_asked_for() {
        for (shell, namespace) in
            SHELLS.into_iter().flat_map(|shell| [(shell, "moby"), (shell, "moby-1000.1000")])
        {
            let root = tempfile::tempdir().unwrap();
            let here = root.path().display().to_string();
            let at = |path: &str| root.path().join(path);
            let write = |path: &str, text: &str| {
                fs::create_dir_all(at(path).parent().unwrap()).unwrap();
                fs::write(at(path), text).unwrap();
            };
            let [mut shim, mut inmate, mut of_pod] =
                [0, 1, 2].map(|_| Command::new("sleep").arg("60").spawn().unwrap());
            let id = "0123456789abcdef".repeat(4);
            let keeps = |namespace: &str| {
                format!("/bin/containerd-shim-runc-v2\0-namespace\0{namespace}\0-id\0{id}\0-address\0x\0")
            };
            for (process, words, group) in [
                (shim.id(), keeps(namespace), "/system.slice/docker.service".to_owned()),
                (inmate.id(), "sleep\x0060\0".to_owned(), format!("/system.slice/docker-{id}.scope")),
                (of_pod.id(), keeps("k8s.io"), "/system.slice/containerd.service".to_owned()),
            ] {
                write(&format!("proc/{process}/cmdline"), &words);
                write(&format!("proc/{process}/cgroup"), &format!("0::{group}\n"));
                fs::create_dir_all(at(&format!("proc/{process}/ns"))).unwrap();
                symlink("pid:[1]", at(&format!("proc/{process}/ns/pid"))).unwrap();
            }
            fs::create_dir_all(at("proc/self/ns")).unwrap();
            symlink("pid:[1]", at("proc/self/ns/pid")).unwrap();
            for name in ["iptables-save", "ip6tables-save"] {
                write(&format!("tools/{name}"), "#!/bin/sh\n");
                fs::set_permissions(at(&format!("tools/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let text = include_str!("remove.sh").replace("/proc/", &format!("{here}/proc/"));
            let text = ["/etc/", "/run/", "/sys/"]
                .iter()
                .fold(text, |text, folder| text.replace(&format!(" {folder}"), &format!(" {here}{folder}")));
            let gone = format!("rm -rf {here}/proc/{} {here}/proc/{}", shim.id(), inmate.id());
            let text = format!("systemctl() {{ :; }}\nsleep() {{ {gone}; }}\n{text}");
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &text, "sh"]);
            command.args([at("stamps/docker").to_str().unwrap(), ""]);
            let out = command.env("PATH", format!("{here}/tools:/usr/bin:/bin")).output().unwrap();
            assert!(out.status.success(), "{shell:?} {out:?}");
            let signals = [&mut shim, &mut inmate].map(|process| process.wait().unwrap().signal());
            assert_eq!(signals, [Some(9), Some(9)], "{shell:?} {namespace} {out:?}");
            assert!(of_pod.try_wait().unwrap().is_none(), "{shell:?}: it is a pod's");
            of_pod.kill().unwrap();
            of_pod.wait().unwrap();
        }
    }

    #[test]
    fn what_is_removed_of_docker_is_its_own() {
        let removal = super::removal_of_data("/srv/my docker");
        assert!(
            removal.starts_with("cd '/srv/my docker' && rm -rf buildkit ") && !removal.contains('*'),
            "{removal}"
        );
    }

    #[test]
    fn docker_goes_with_its_rules_and_bridges_and_not_under_a_container_of_it() {
        for shell in SHELLS {
            let root = tempfile::tempdir().unwrap();
            let here = root.path().display().to_string();
            let at = |path: &str| root.path().join(path);
            let write = |path: &str, text: &str| {
                fs::create_dir_all(at(path).parent().unwrap()).unwrap();
                fs::write(at(path), text).unwrap();
            };
            let program = |name: &str, text: &str| {
                write(&format!("tools/{name}"), &format!("#!/bin/sh\n{text}\n"));
                fs::set_permissions(at(&format!("tools/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
            };
            program("systemctl", &format!("echo systemctl $* >>{here}/said"));
            program("ip", &format!("echo ip $* >>{here}/said"));
            program("iptables-save", &format!("cat {here}/rules"));
            program("ip6tables-save", ":");
            program("iptables-restore", &format!("cat >{here}/restored"));
            write("rules", RULES);
            let ours = [
                "etc/systemd/system/docker.service",
                "etc/docker/daemon.json",
                "etc/docker/daemon.json.started",
                "stamps/docker",
                "stamps/docker.service",
                "bin/dockerd",
                "run/docker.sock",
            ];
            ours.iter().for_each(|path| write(path, "ours"));
            write(&format!("stamps/file{here}/bin/dockerd"), "1");
            write("var/lib/docker/volumes/data", "theirs");
            write("run/docker/netns/default", "");
            write("sys/class/net/docker0/bridge/bridge_id", "");
            write("sys/class/net/br-0123456789ax/bridge/bridge_id", "");
            // Of a Docker with --userns-remap.
            let task = "state/io.containerd.runtime.v2.task/moby-1000.1000/0a1b/pid";
            write(task, "7");
            let text = ["/etc/", "/run/", "/sys/"]
                .iter()
                .fold(include_str!("remove.sh").to_owned(), |text, folder| {
                    text.replace(&format!(" {folder}"), &format!(" {here}{folder}"))
                });
            let run = || {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &text, "sh"]);
                command.args([at("stamps/docker"), at("state"), at("bin/dockerd")]);
                command.env("PATH", format!("{here}/tools:/usr/bin:/bin")).output().unwrap()
            };
            let refused = run();
            assert!(!refused.status.success() && ours.iter().all(|path| at(path).exists()), "{shell:?}");
            assert!(String::from_utf8_lossy(&refused.stderr).contains("docker stop $(docker ps -q)"));
            fs::remove_file(at(task)).unwrap();
            fs::remove_dir(at(task).parent().unwrap()).unwrap();
            let out = run();
            assert!(out.status.success(), "{shell:?} {out:?}");
            assert!(
                ours.iter().all(|path| !at(path).exists())
                    && !at("etc/docker").exists()
                    && !at("run/docker").exists(),
                "{shell:?}"
            );
            assert!(at("var/lib/docker/volumes/data").exists());
            let said = fs::read_to_string(at("said")).unwrap();
            assert!(
                said.contains("systemctl stop docker.service\n")
                    && said.ends_with("ip link delete docker0\n"),
                "{said}"
            );
            assert_eq!(fs::read_to_string(at("restored")).unwrap().trim_end(), GONE.trim_end(), "{shell:?}");
            assert!(run().status.success(), "{shell:?}: again");
        }
    }
}
