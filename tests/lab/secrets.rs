//! The secrets of a real cluster are where they belong, and nowhere else.

use std::fs;

use crate::fixture::{Ended, Lab};

/// Where the arguments of all processes of a machine are gathered while it is watched.
const ARGUMENTS: &str = "/run/arguments";

/// Begins to write down what every user of a machine can read: the arguments of all processes (proc(5)).
pub(crate) fn watch(lab: &Lab, machines: &[&str]) {
    for machine in machines {
        lab.on(
            machine,
            &format!(
                "systemd-run --quiet --unit=arguments sh -c \
                 'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr \"\\0\" \" \"; sleep 0.02; done >{ARGUMENTS}'"
            ),
        );
    }
}

/// No secret of the cluster was an argument since [`watch`], nor shown by the run `ended`, nor is it in any record.
pub(crate) fn nowhere_to_be_read(lab: &Lab, machines: &[&str], ended: &Ended) {
    let secrets = secrets(lab);
    // The key to the certificates that control planes hand on is thrown away: it is told by what stands before it.
    let telling = ["certificateKey:", "Using certificate key"].map(str::to_owned);
    let check = |place: &str, text: &str| {
        let found = secrets.iter().chain(&telling).find(|secret| text.contains(secret.as_str()));
        assert!(found.is_none(), "{found:?} is in {place}");
    };
    for machine in machines {
        lab.on(machine, "systemctl stop arguments");
        let arguments = lab.on(machine, &format!("cat {ARGUMENTS}"));
        assert!(arguments.contains("kubeadm join") || arguments.contains("kubeadm init"), "nothing was seen");
        check(&format!("the arguments of {machine}"), &arguments);
    }
    check("what the run showed", &ended.all());
    let runs = fs::read_dir(lab.folder().join("inventory/.muster/runs")).unwrap();
    for path in runs.map(|entry| entry.unwrap().path()) {
        check(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
    }
}

/// Tokens, and a piece of every private key.
fn secrets(lab: &Lab) -> Vec<String> {
    let tokens = lab.on("node1", "kubeadm --kubeconfig /etc/kubernetes/admin.conf token list");
    let tokens = tokens.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let keys = lab.on(
        "node1",
        "for key in /etc/kubernetes/ssl/*.key /etc/ssl/etcd/ssl/*-key.pem; do sed -n 3p \"$key\"; done; \
         sed -n 's/.*client-key-data: //p' /etc/kubernetes/admin.conf",
    );
    let secrets: Vec<String> = tokens.chain(keys.lines()).map(str::to_owned).collect();
    assert!(secrets.len() > 8 && secrets.iter().all(|secret| secret.len() > 20), "{secrets:?}");
    secrets
}
