//! Users of the system that machines get (`addusers`, of kubespray's role adduser). One who is there already is left as he is.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;

/// Explained in `defaults.yml`.
#[derive(Debug, Deserialize)]
pub(crate) struct Vars {
    addusers: BTreeMap<String, User>,
}

#[derive(Debug, Deserialize)]
struct User {
    name: String,
    group: Option<String>,
    comment: Option<String>,
    home: Option<String>,
    create_home: Option<bool>,
    shell: Option<String>,
    system: Option<bool>,
}

impl User {
    /// The group that it belongs to; by default one of its own name.
    fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }

    /// What no account can have, as FIELD: VALUE (passwd(5), useradd(8)).
    fn wrong(&self) -> Option<String> {
        let is_name = |text: &str| {
            let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            text.len() <= 32
                && text.chars().all(known)
                && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        };
        let is_path = |text: &str| text.starts_with('/') && !text.contains([':', '\n', ' ']);
        let is_said = |text: &str| !text.contains([':', '\n']);
        let wrong = |field: &str, value: &Option<String>, is_good: &dyn Fn(&str) -> bool| {
            value.as_ref().filter(|text| !is_good(text)).map(|text| format!("{field}: {text}"))
        };
        wrong("name", &Some(self.name.clone()), &is_name)
            .or_else(|| wrong("group", &self.group, &is_name))
            .or_else(|| wrong("home", &self.home, &is_path))
            .or_else(|| wrong("shell", &self.shell, &is_path))
            .or_else(|| wrong("comment", &self.comment, &is_said))
    }

    fn made(&self) -> Command {
        let yes = |is: Option<bool>| if is == Some(true) { "yes" } else { "no" };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let arguments = [
            self.name.clone(),
            self.group().to_owned(),
            text(&self.comment),
            text(&self.home),
            // As Ansible does.
            yes(self.create_home.or(Some(true))).to_owned(),
            text(&self.shell),
            yes(self.system).to_owned(),
        ];
        command(
            format!("user {}", self.name),
            sh(include_str!("user_add.sh"), arguments),
            sh(r#"grep -q "^$1:" /etc/passwd"#, [&self.name]),
        )
    }
}

impl Vars {
    /// Users that cannot be made, as FIELD: VALUE.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.addusers.values().filter_map(User::wrong).collect()
    }
}

/// They are there, and those that muster has made and nobody wants any more are gone.
pub(super) fn wanted(host: &Host) -> Result<Vec<Command>> {
    let vars: Vars = host.vars()?;
    if vars.addusers.is_empty() {
        return Ok(vec![gone()]);
    }
    let names: Vec<_> = vars.addusers.values().map(|user| user.name.clone()).collect();
    let others = command(
        "no users that are not wanted any more",
        sh(include_str!("user_gone.sh"), names.clone()),
        sh(
            r#"for noted in /var/lib/muster/stamps/users/*; do
  [ -e "$noted" ] || continue
  found=no
  for wanted; do [ "$wanted" != "${noted##*/}" ] || found=yes; done
  [ $found = yes ] || exit 1
done"#,
            names,
        ),
    );
    Ok([others].into_iter().chain(vars.addusers.values().map(User::made)).collect())
}

/// None of those that muster has made is there.
pub(super) fn gone() -> Command {
    removal(
        "users that muster has made",
        sh0(include_str!("user_gone.sh")),
        sh0("[ ! -e /var/lib/muster/stamps/users ]"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::preflight::fixture::variables;

    fn read(yaml: &str) -> Vars {
        variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap()
    }

    #[test]
    fn kubesprays_own_users_can_be_asked_for_and_what_no_account_can_have_is_told() {
        let kubesprays = "addusers:\n  etcd: {name: etcd, comment: Etcd user, create_home: false, system: true, shell: /sbin/nologin}\n  \
                          kube: {name: kube, comment: 'x', create_home: false, system: true, shell: /sbin/nologin, group: kube-cert}";
        let vars = read(kubesprays);
        assert_eq!(vars.wrong(), Vec::<String>::new());
        assert_eq!((vars.addusers["etcd"].group(), vars.addusers["kube"].group()), ("etcd", "kube-cert"));
        for (user, wrong) in [
            ("name: ../x", "name: ../x"),
            ("name: a, group: 'A'", "group: A"),
            ("name: a, home: srv", "home: srv"),
            ("name: a, comment: 'a:b'", "comment: a:b"),
        ] {
            assert_eq!(read(&format!("addusers: {{x: {{{user}}}}}")).wrong(), [wrong]);
        }
    }

    #[test]
    fn who_is_made_goes_again_and_nobody_else() {
        let programs = r#"
useradd() { for last; do :; done; echo "$last:x" >>/etc/passwd; echo "useradd $*" >>/etc/told; }
groupadd() { for last; do :; done; echo "$last:x" >>/etc/group; echo "groupadd $*" >>/etc/told; }
userdel() { grep -v "^$1:" /etc/passwd >/etc/new || :; mv /etc/new /etc/passwd; }
groupdel() { grep -v "^$1:" /etc/group >/etc/new || :; mv /etc/new /etc/group; }
"#;
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().display().to_string();
            let at = |path: &str| root.path().join(path);
            fs::create_dir(at("etc")).unwrap();
            let run = |program: &str, arguments: &[&str]| {
                let program = format!("{programs}{program}");
                let program = program
                    .replace("/etc/", &format!("{folder}/etc/"))
                    .replace("/var/lib", &format!("{folder}/var/lib"));
                let mut command = Command::new(shell[0]);
                let out = command
                    .args(&shell[1..])
                    .args(["-euc", &program, "sh"])
                    .args(arguments)
                    .output()
                    .unwrap();
                assert!(out.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&out.stderr));
            };
            let read = |path: &str| fs::read_to_string(at(path)).unwrap();
            fs::write(at("etc/passwd"), "root:x\n").unwrap();
            fs::write(at("etc/group"), "root:x\nshared:x\n").unwrap();
            let add = include_str!("user_add.sh");
            run(add, &["kube", "kube-cert", "Kubernetes user", "", "no", "/sbin/nologin", "yes"]);
            run(add, &["mine", "shared", "", "/srv/mine", "yes", "", "no"]);
            assert_eq!(
                read("etc/told"),
                "groupadd --system kube-cert\nuseradd --system --no-create-home --gid kube-cert --comment Kubernetes user --shell \
                 /sbin/nologin kube\nuseradd --create-home --gid shared --comment  --home-dir /srv/mine mine\n"
            );
            run(include_str!("user_gone.sh"), &["mine"]);
            assert_eq!(
                (read("etc/passwd").as_str(), read("etc/group").as_str()),
                ("root:x\nmine:x\n", "root:x\nshared:x\n")
            );
            run(include_str!("user_gone.sh"), &[]);
            assert_eq!(
                (read("etc/passwd").as_str(), read("etc/group").as_str()),
                ("root:x\n", "root:x\nshared:x\n")
            );
            assert!(!fs::exists(at("var/lib/muster/stamps/users")).unwrap());
        }
    }
}
