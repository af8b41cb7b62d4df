//! What other tools than muster have left on a machine: k3s and RKE2 take themselves away; of kubeadm by hand, kubespray and network
//! plugins their units, configuration and data go. Packages stay: the system's package manager has them.

use muster_engine::prelude::*;
use serde::Deserialize;

/// Explained in the `defaults.yml` of etcd.
#[derive(Deserialize)]
pub(super) struct Vars {
    etcd_data_dir: String,
}

/// A snippet that knows the functions of `foreign.sh`.
macro_rules! with_foreign {
    ($text:expr, $args:expr) => {
        sh(concat!(include_str!("foreign.sh"), $text), $args)
    };
}

/// Nothing of theirs runs that would bring back what is taken away next.
pub(super) async fn stop(host: &Host) -> Result<()> {
    let own_data = [host.vars::<Vars>()?.etcd_data_dir];
    host.step("Stop what other tools run")
        .detached()
        .limit(Duration::from_secs(300))
        .ensure(command(
            "nothing of k3s, RKE2, kubespray, kubeadm and network plugins runs",
            with_foreign!(include_str!("foreign_stop.sh"), own_data.clone()),
            with_foreign!(r#"[ -z "$(uninstallers)$(units)" ]"#, own_data),
        ))
        .await
        .map(drop)
}

/// Nothing of theirs is left. When nothing runs any more: in their folders are mounts (the control groups of cilium and of calico),
/// which go before the folders do.
pub(super) async fn clear(host: &Host) -> Result<()> {
    let found = host.query(with_foreign!("paths", [host.vars::<Vars>()?.etcd_data_dir])).await?.output;
    let paths = found.lines().filter_map(|line| line.split_once(' '));
    let all = paths.fold(Resources::new(), |all, (kind, path)| match kind {
        "folder" => all.with(dir(path)),
        "link" => all.with(link(path, "")),
        _ => all.with(file(path)),
    });
    host.step("Remove what other tools left").limit(Duration::from_secs(300)).remove_all(all).await?;
    // Some are empty only now.
    host.step("Remove empty folders of drop-ins")
        .ensure(command(
            "no drop-ins of other tools",
            with_foreign!("no_empty_drop_ins", [""]),
            with_foreign!(r#"[ -z "$(empty_drop_ins)" ]"#, [""]),
        ))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn what_other_tools_left_is_found_with_what_it_is() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            for folder in ["etc/cni/net.d", "etc/systemd/system/kubelet.service.d", "run/cilium/cgroupv2"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            for own in ["var/lib/etcd/member", "var/lib/etcd-events/member"] {
                fs::create_dir_all(at(own)).unwrap();
            }
            fs::write(at("etc/cni/net.d/05-cilium.conflist"), "").unwrap();
            fs::write(at("etc/cni/net.d/87-podman.conflist"), "").unwrap();
            symlink("/dev/null", at("etc/systemd/system/kubelet.service.d/masked.conf")).unwrap();
            symlink("/nowhere", at("etc/cni/net.d/10 calico.conflist")).unwrap();
            let here = root.path().display();
            let functions = include_str!("foreign.sh");
            let functions =
                ["/etc/", "/var/", "/run/"].into_iter().fold(functions.to_owned(), |all, folder| {
                    all.replace(&format!(" {folder}"), &format!(" {here}{folder}"))
                });
            let look = |text: &str| {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &format!("{functions}{text}"), "sh"]);
                let out = command.arg(at("var/lib/etcd")).output().unwrap();
                assert!(out.status.success(), "{shell:?} {out:?}");
                String::from_utf8(out.stdout).unwrap().replace(&here.to_string(), "")
            };
            assert_eq!(
                look("paths"),
                "file /etc/cni/net.d/05-cilium.conflist\nlink /etc/cni/net.d/10 calico.conflist\n\
                 folder /run/cilium\nfolder /var/lib/etcd-events/member\n",
                "{shell:?}"
            );
            assert_eq!(look("empty_drop_ins"), "", "{shell:?}");
            fs::remove_file(at("etc/systemd/system/kubelet.service.d/masked.conf")).unwrap();
            assert_eq!(look("empty_drop_ins"), "/etc/systemd/system/kubelet.service.d\n", "{shell:?}");
        }
    }
}
