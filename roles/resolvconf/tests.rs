//! The programs in real shells, on machines that are folders: with a name server for each file `names.ADDRESS`, which holds what it knows.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Output};

use super::*;
use crate::preflight::fixture::variables;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// What a machine has besides: programs that say which is at work (`active`), and names that are found as programs of the C library do,
/// with the servers of the file ($lookup), one after the other until one answers.
const PROGRAMS: &str = r#"
systemctl() {
  case $1 in
    -q) grep -qsx "$3" ROOT/active ;;
    *) echo "$*" >>ROOT/told ;;
  esac
}
resolvconf() { echo "resolvconf $*" >>ROOT/told; }
resolvectl() { cat ROOT/links 2>/dev/null; }
nmcli() { cat ROOT/devices 2>/dev/null; }
sleep() { :; }
timeout() { shift; "$@"; }
lookup() {
  for from in ROOT/etc/systemd/resolved.conf.d/zz-muster.conf ROOT/etc/NetworkManager/conf.d/zz-muster.conf \
    ROOT/etc/resolvconf/resolv.conf.d/head ROOT/etc/resolv.conf; do
    sed -n 's/^nameserver //p; s/^DNS=//p; s/^servers=//p' "$from" 2>/dev/null | tr ', ' '\n\n'
  done
}
getent() {
  for of in $(lookup); do
    [ -e "ROOT/names.$of" ] || continue
    grep -qx "$2" "ROOT/names.$of"
    return
  done
  return 2
}
socat() {
  of=${4#UDP4:} of=${of%:53}
  cat >ROOT/asked
  [ ! -e "ROOT/names.$of" ] || printf '\052\052\201\200\000\001\000\001\000\000\000\000'
}
"#;

struct Machine {
    root: tempfile::TempDir,
    shell: &'static [&'static str],
}

const BEFORE: &str = "# theirs\nnameserver 192.0.2.53\nsearch example.org\noptions rotate edns0 timeout:9\nsortlist 192.0.2.0\n";
const MODE: &str = "resolvconf_mode: host_resolvconf";

impl Machine {
    /// One whose server knows some names, in a cluster whose DNS knows them and its own.
    fn new(shell: &'static [&'static str]) -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap(), shell };
        machine.write("etc/resolv.conf", BEFORE);
        machine.write("names.192.0.2.53", "registry.k8s.io\ndeb.example\n");
        machine.write(
            "names.10.233.0.3",
            "kubernetes.default.svc.cluster.local\nregistry.k8s.io\ndeb.example\n",
        );
        machine.write(
            "etc/apt/sources.list",
            "# deb http://no.example/ x\ndeb http://deb.example/debian x main\n",
        );
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|_| "(none)".to_owned())
    }

    fn has(&self, path: &str) -> bool {
        fs::exists(self.path(path)).unwrap()
    }

    fn run(&self, program: &str, arguments: &[String]) -> Output {
        let root = self.root.path().to_str().unwrap();
        let mut program = format!("set -eu\n{}{program}", PROGRAMS.replace("ROOT/", "/ROOT/"));
        for top in ["/etc/", "/run/", "/var/lib/muster"] {
            program = program.replace(top, &format!("{root}{top}"));
        }
        // The replacement above has met these as well.
        program = program.replace(&format!("/ROOT{root}"), root).replace("/ROOT", root);
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).args(["-c", &program, "sh"]).args(arguments).output().unwrap()
    }

    fn arguments(&self, yaml: &str) -> (Vars, Vec<String>) {
        let vars: Vars =
            variables(&format!("skydns_server: 10.233.0.3\n{MODE}\n{yaml}")).deserialize().unwrap();
        let arguments = vars.arguments("cluster.local");
        (vars, arguments)
    }

    /// What the machine says when it is to ask the cluster; nothing where it does.
    fn apply(&self, yaml: &str) -> String {
        let (_, mut arguments) = self.arguments(yaml);
        arguments.push("registry.k8s.io".to_owned());
        let out = self.run(APPLY, &arguments);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.success(), said.is_empty(), "{:?} {:?}: {said}", self.shell, out.status);
        assert_eq!(self.is_done(yaml), out.status.success(), "{:?}: {said}", self.shell);
        said
    }

    fn is_done(&self, yaml: &str) -> bool {
        self.run(IS_DONE, &self.arguments(yaml).1).status.success()
    }

    /// A client of DHCP writes a lease down, as Debian's dhclient-script(8) does.
    fn leases(&self, server: &str, domain: &str) {
        let program = r#"
new_domain_name_servers=$1 new_domain_name=$2
for hook in /etc/dhcp/dhclient-enter-hooks.d/*; do
  case ${hook##*/} in *.*) ;; *) [ ! -f "$hook" ] || . "$hook" ;; esac
done
{
  echo "domain $new_domain_name"
  echo "search ${new_domain_search:-$new_domain_name}"
  for one in $new_domain_name_servers; do echo "nameserver $one"; done
} >/etc/resolv.conf"#;
        let out = self.run(program, &[server.to_owned(), domain.to_owned()]);
        assert!(out.status.success(), "{:?}: {}", self.shell, String::from_utf8_lossy(&out.stderr));
    }

    fn undo(&self) {
        let out = self.run(UNDO, &[]);
        assert!(out.status.success(), "{:?}: {}", self.shell, String::from_utf8_lossy(&out.stderr));
        assert!(!self.has("var/lib/muster/stamps/resolv"));
    }

    /// What pods would get.
    fn for_pods(&self, yaml: &str) -> String {
        let (vars, mut arguments) = self.arguments(yaml);
        let own = self.path("own.conf").display().to_string();
        arguments.extend([vars.searchdomains.join(" "), own]);
        let out = self.run(WRITE_OWN, &arguments);
        assert!(out.status.success(), "{:?}: {}", self.shell, String::from_utf8_lossy(&out.stderr));
        assert!(self.run(OWN_IS_THERE, &arguments).status.success(), "{:?}", self.shell);
        self.read("own.conf")
    }
}

fn on_each(test: impl Fn(Machine)) {
    SHELLS.into_iter().map(Machine::new).for_each(test);
}

const OF_CLUSTER: &str = "search default.svc.cluster.local svc.cluster.local example.org\n";

#[test]
fn the_clusters_dns_is_asked_first_and_what_was_there_comes_back() {
    on_each(|machine| {
        let own = "nameserver 192.0.2.53\nsearch example.org\n";
        assert_eq!(machine.for_pods(""), own);
        assert_eq!(machine.apply(""), "");
        let begin = "# muster: names of the cluster begin (resolvconf_mode; what was here before is kept in";
        let file = machine.read("etc/resolv.conf");
        assert!(file.starts_with(begin), "{file}");
        assert_eq!(
            file.split_once('\n').unwrap().1,
            format!(
                "{OF_CLUSTER}nameserver 10.233.0.3\nnameserver 192.0.2.53\noptions ndots:2 timeout:2 attempts:2 edns0\n\
                 # muster: names of the cluster end\n# theirs\nsortlist 192.0.2.0\n"
            )
        );
        // CoreDNS asks the same servers as before.
        assert_eq!(machine.for_pods(""), own);
        // RFC 1035: a name is its labels, each behind its length.
        let asked = fs::read(machine.path("asked")).unwrap();
        assert_eq!(asked[12..], *b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01");

        // Other variables: three servers, each once; and what was there before is still that.
        let more = "nameservers: [192.0.2.53, 192.0.2.1]\nupstream_dns_servers: ['192.0.2.2', 'tls://192.0.2.9']\n\
                    searchdomains: [corp.example]\nremove_default_searchdomains: true\n\
                    dns_timeout: 7\ndns_attempts: 3";
        assert!(!machine.is_done(more));
        assert_eq!(machine.apply(more), "");
        let file = machine.read("etc/resolv.conf");
        let servers = "nameserver 10.233.0.3\nnameserver 192.0.2.2\nnameserver 192.0.2.53\noptions";
        assert!(file.contains(servers) && file.contains("\nsearch corp.example example.org\n"), "{file}");
        assert!(file.contains(" timeout:7 attempts:3 "), "{file}");
        assert_eq!(
            machine.for_pods(more),
            "nameserver 192.0.2.2\nnameserver 192.0.2.53\nnameserver 192.0.2.1\nsearch corp.example example.org\n"
        );
        let alone = "nameservers: [192.0.2.1]\ndisable_host_nameservers: true";
        assert_eq!(machine.apply(alone), "");
        assert!(!machine.read("etc/resolv.conf").contains("192.0.2.53"));
        machine.undo();
        assert_eq!(machine.read("etc/resolv.conf"), BEFORE);
    });
}

#[test]
fn a_link_and_a_mount_stay_and_so_does_what_somebody_writes() {
    on_each(|machine| {
        fs::rename(machine.path("etc/resolv.conf"), machine.path("etc/mine.conf")).unwrap();
        symlink("mine.conf", machine.path("etc/resolv.conf")).unwrap();
        let inode = || fs::metadata(machine.path("etc/mine.conf")).unwrap().ino();
        let before = inode();
        assert_eq!(machine.apply(""), "");
        assert!(machine.path("etc/resolv.conf").is_symlink() && inode() == before);

        // Cut off while the file is written: the next run finishes it, or takes it back.
        let whole = machine.read("etc/resolv.conf");
        machine.write("etc/mine.conf", "");
        machine.write("var/lib/muster/stamps/resolv/new", &whole);
        assert!(!machine.is_done(""));
        assert_eq!(machine.apply(""), "");
        assert_eq!(machine.read("etc/resolv.conf"), whole);
        machine.write("etc/mine.conf", "");
        machine.write("var/lib/muster/stamps/resolv/new", &whole);
        machine.undo();
        assert_eq!(machine.read("etc/resolv.conf"), BEFORE);
        assert!(inode() == before);

        // Somebody writes it anew: that is what comes back, and what is taken from then on.
        assert_eq!(machine.apply(""), "");
        machine.write("etc/mine.conf", "nameserver 192.0.2.7\n");
        machine.write("names.192.0.2.7", "registry.k8s.io\n");
        assert!(!machine.is_done(""));
        assert_eq!(machine.for_pods(""), "nameserver 192.0.2.7\n", "before the machine itself is told");
        assert_eq!(machine.apply(""), "");
        assert!(machine.read("etc/resolv.conf").contains("\nnameserver 10.233.0.3\nnameserver 192.0.2.7\n"));
        machine.write("etc/mine.conf", "nameserver 192.0.2.8\n");
        machine.undo();
        assert_eq!(machine.read("etc/resolv.conf"), "nameserver 192.0.2.8\n");

        // Nothing was there.
        fs::remove_file(machine.path("etc/mine.conf")).unwrap();
        assert_eq!(machine.apply(""), "");
        machine.undo();
        assert!(machine.path("etc/resolv.conf").is_symlink() && !machine.has("etc/mine.conf"));
    });
}

#[test]
fn where_the_clusters_dns_is_of_no_use_everything_is_as_before() {
    on_each(|machine| {
        let of_cluster = machine.read("names.10.233.0.3");
        fs::remove_file(machine.path("names.10.233.0.3")).unwrap();
        let said = machine.apply("");
        assert!(said.contains("the cluster's DNS does not answer at 10.233.0.3"), "{said}");
        assert!(machine.read("etc/resolv.conf") == BEFORE && !machine.has("var/lib/muster/stamps/resolv"));

        machine.write("names.10.233.0.3", &of_cluster.replace("deb.example\n", ""));
        let said = machine.apply("");
        assert!(said.contains("does not find all of these names") && said.contains("deb.example"), "{said}");
        assert!(machine.read("etc/resolv.conf") == BEFORE && !machine.has("var/lib/muster/stamps/resolv"));

        machine.write("names.10.233.0.3", &of_cluster.replace("kubernetes.default", "x"));
        let said = machine.apply("");
        assert!(said.contains("names of the cluster are not found by way of plain"), "{said}");
        assert_eq!(machine.read("etc/resolv.conf"), BEFORE);

        // What cannot be written is as it was, and nothing is left to undo.
        fs::remove_file(machine.path("etc/resolv.conf")).unwrap();
        symlink("/proc/version", machine.path("etc/resolv.conf")).unwrap();
        machine.write("names.10.233.0.3", &of_cluster);
        let said = machine.apply("");
        assert!(said.contains("/etc/resolv.conf cannot be written"), "{said}");
        assert!(!machine.has("var/lib/muster/stamps/resolv"));
        fs::remove_file(machine.path("etc/resolv.conf")).unwrap();

        // One that muster does not know writes the file.
        machine.write("etc/resolv.conf", "# Generated by dhcpcd from eth0.dhcp\nnameserver 192.0.2.53\n");
        let said = machine.apply("");
        assert!(said.starts_with("dhcpcd writes") && said.contains("set resolvconf_mode: none"), "{said}");

        // What was not found before is not asked for: names of the outside are no condition.
        machine.write("etc/resolv.conf", "nameserver 192.0.2.99\n");
        machine.write("names.10.233.0.3", "kubernetes.default.svc.cluster.local\n");
        assert_eq!(machine.apply(""), "");
    });
}

#[test]
fn systemd_resolved_is_told_in_a_file_of_its_own() {
    on_each(|machine| {
        fs::remove_file(machine.path("etc/resolv.conf")).unwrap();
        let uplink = "nameserver 192.0.2.53\nsearch example.org\n";
        machine.write("run/systemd/resolve/resolv.conf", uplink);
        machine.write("run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n");
        symlink("../run/systemd/resolve/stub-resolv.conf", machine.path("etc/resolv.conf")).unwrap();
        machine.write("active", "systemd-resolved\n");
        machine.write("links", "Global: 192.0.2.5\nLink 2 (eth0): 192.0.2.53 fe80::1%eth0\nLink 3 (wg0):\n");
        assert_eq!(machine.apply(""), "");
        let file = "etc/systemd/resolved.conf.d/zz-muster.conf";
        let text = |servers: &str, domains: &str| {
            format!("# muster: resolvconf_mode\n[Resolve]\nDNS=\nDNS={servers}\nDomains={domains}\n")
        };
        let domains = "default.svc.cluster.local svc.cluster.local ~cluster.local";
        assert_eq!(machine.read(file), text("10.233.0.3 192.0.2.5", domains));
        assert_eq!(machine.read("told"), "restart systemd-resolved\n");
        // What it then says of itself has the cluster's server in it.
        machine.write("run/systemd/resolve/resolv.conf", &format!("nameserver 10.233.0.3\n{uplink}"));
        let own = "nameserver 192.0.2.53\nnameserver fe80::1\nnameserver 192.0.2.5\nsearch example.org\n";
        assert_eq!(machine.for_pods(""), own);
        assert!(machine.is_done(""));
        let alone = "nameservers: [192.0.2.1]\ndisable_host_nameservers: true";
        assert_eq!(machine.apply(alone), "");
        assert_eq!(machine.read(file), text("10.233.0.3 192.0.2.1", &format!("{domains} ~.")));
        machine.undo();
        assert!(!machine.has(file) && machine.read("etc/resolv.conf") == "nameserver 127.0.0.53\n");

        // Without servers of links, those of before are asked after the cluster's.
        machine.write("links", "Global: 192.0.2.5\nLink 2 (eth0):\n");
        machine.write("run/systemd/resolve/resolv.conf", "nameserver 192.0.2.5\n");
        assert_eq!(machine.apply(""), "");
        assert_eq!(machine.read(file), text("10.233.0.3 192.0.2.5", domains));
    });
}

#[test]
fn network_manager_and_resolvconf_are_told_in_theirs() {
    on_each(|machine| {
        machine.write(
            "etc/resolv.conf",
            "# Generated by NetworkManager\nsearch example.org\nnameserver 192.0.2.53\n",
        );
        machine.write("active", "NetworkManager\n");
        machine.write("devices", "192.0.2.53 | 192.0.2.54\n\n192.0.2.55\n");
        assert_eq!(machine.apply(""), "");
        assert_eq!(
            machine.read("etc/NetworkManager/conf.d/zz-muster.conf"),
            "# muster: resolvconf_mode\n[global-dns]\nsearches=default.svc.cluster.local,svc.cluster.local,example.org\n\
             options=ndots:2,timeout:2,attempts:2\n[global-dns-domain-*]\nservers=10.233.0.3,192.0.2.53,192.0.2.54\n"
        );
        assert_eq!(machine.read("told"), "reload NetworkManager\n");
        machine.undo();
        assert!(!machine.has("etc/NetworkManager/conf.d/zz-muster.conf"));

        fs::remove_file(machine.path("etc/resolv.conf")).unwrap();
        machine.write("run/resolvconf/resolv.conf", BEFORE);
        symlink("../run/resolvconf/resolv.conf", machine.path("etc/resolv.conf")).unwrap();
        let (head, tail) = ("etc/resolvconf/resolv.conf.d/head", "etc/resolvconf/resolv.conf.d/tail");
        machine.write(head, "# theirs\n");
        assert_eq!(machine.apply("nameservers: [192.0.2.1]"), "");
        let end = "# muster: names of the cluster end\n";
        assert_eq!(
            machine.read(head),
            format!(
                "# muster: names of the cluster begin\nnameserver 10.233.0.3\nnameserver 192.0.2.1\n{end}# theirs\n"
            )
        );
        assert!(
            machine
                .read(tail)
                .contains(&format!("\n{OF_CLUSTER}options ndots:2 timeout:2 attempts:2\n{end}"))
        );
        assert!(machine.read("told").ends_with("resolvconf -u\n"));
        // What DHCP says then.
        let today = "nameserver 10.233.0.3\nnameserver 192.0.2.1\nnameserver 192.0.2.7\nsearch example.org\n";
        machine.write("run/resolvconf/resolv.conf", today);
        let own = "nameserver 192.0.2.7\nsearch example.org\n";
        assert_eq!(machine.for_pods("nameservers: [192.0.2.1]"), format!("nameserver 192.0.2.1\n{own}"));
        assert_eq!(machine.for_pods(""), own);
        machine.undo();
        assert!(machine.read(head) == "# theirs\n" && !machine.has(tail));
    });
}

#[test]
fn a_client_of_dhcp_writes_the_file_as_it_is_to_be_without_being_started_anew() {
    on_each(|machine| {
        let (theirs, hook) = ("request subnet-mask;\n", "etc/dhcp/dhclient-enter-hooks.d/zz-muster");
        // As an older muster has left it.
        let older = "# muster: names of the cluster begin\nprepend domain-name-servers 10.233.0.3;\n\
                     # muster: names of the cluster end\n";
        machine.write("etc/dhcp/dhclient.conf", &format!("{older}{theirs}"));
        fs::create_dir(machine.path("etc/dhcp/dhclient-enter-hooks.d")).unwrap();
        machine.leases("192.0.2.53", "example.org");
        let before = machine.read("etc/resolv.conf");
        assert_eq!(machine.apply(""), "");
        assert_eq!(machine.read("etc/dhcp/dhclient.conf"), theirs);
        let both = "nameserver 10.233.0.3\nnameserver 192.0.2.53\n";
        assert!(machine.read("etc/resolv.conf").contains(both));
        machine.undo();
        assert!(machine.read("etc/resolv.conf") == before && !machine.has(hook));

        // With its next lease.
        assert_eq!(machine.apply(""), "");
        machine.leases("192.0.2.53", "example.org");
        assert_eq!(machine.read("etc/resolv.conf"), format!("domain example.org\n{OF_CLUSTER}{both}"));
        assert!(machine.is_done(""));
        // And with one that brings others, which are then the machine's own.
        machine.leases("192.0.2.7", "example.net");
        assert!(machine.is_done(""));
        let own = "nameserver 192.0.2.7\nsearch example.net\n";
        assert_eq!(machine.for_pods(""), own);
        let more = "nameservers: [192.0.2.1]";
        assert_eq!(machine.apply(more), "");
        let three = "nameserver 10.233.0.3\nnameserver 192.0.2.1\nnameserver 192.0.2.7\n";
        assert!(machine.read("etc/resolv.conf").contains(three), "{}", machine.read("etc/resolv.conf"));
        machine.leases("192.0.2.7", "example.net");
        assert!(machine.is_done(more) && machine.read("etc/resolv.conf").ends_with(three));
        assert_eq!(machine.for_pods(more), format!("nameserver 192.0.2.1\n{own}"));
        assert_eq!(machine.for_pods(""), own);
        let alone = "nameservers: [192.0.2.1]\ndisable_host_nameservers: true";
        assert_eq!(machine.apply(alone), "");
        machine.leases("192.0.2.7", "example.net");
        assert!(machine.is_done(alone) && !machine.read("etc/resolv.conf").contains("192.0.2.7"));
        assert_eq!(machine.apply(more), "");
        machine.leases("192.0.2.7", "example.net");

        // dhclient-script writes the file of IPv6 where the servers of a lease are others than before.
        let six = "new_dhcp6_name_servers=2001:db8::1 old_dhcp6_name_servers=2001:db8::1\n\
                   . /etc/dhcp/dhclient-enter-hooks.d/zz-muster\n\
                   [ \"$new_dhcp6_name_servers\" = \"$old_dhcp6_name_servers\" ]\n\
                   [ \"$new_dhcp6_domain_search\" = \"$old_dhcp6_domain_search\" ]\n\
                   echo \"$new_dhcp6_name_servers\"";
        let said = machine.run(six, &[]);
        assert_eq!(String::from_utf8_lossy(&said.stdout), "10.233.0.3 192.0.2.1 2001:db8::1\n");

        // Nothing of it is left, at once and with the leases that come.
        machine.undo();
        let today = "domain example.net\nsearch example.net\nnameserver 192.0.2.7\n";
        assert!(!machine.has(hook));
        assert_eq!(machine.read("etc/resolv.conf"), today);
        machine.leases("192.0.2.7", "example.net");
        assert_eq!(machine.read("etc/resolv.conf"), today);
    });
}

#[test]
fn what_somebody_has_in_a_file_outlasts_a_cut() {
    on_each(|machine| {
        fs::remove_file(machine.path("etc/resolv.conf")).unwrap();
        machine.write("run/resolvconf/resolv.conf", BEFORE);
        symlink("../run/resolvconf/resolv.conf", machine.path("etc/resolv.conf")).unwrap();
        let head = "etc/resolvconf/resolv.conf.d/head";
        machine.write(head, "# theirs\n");
        let mut arguments = machine.arguments("").1;
        arguments.push("registry.k8s.io".to_owned());
        for (program, last) in [("mv", "head"), ("cat", "new")] {
            let cut =
                format!("{program}() {{ case $* in */{last}) exit 9 ;; esac; command {program} \"$@\"; }}\n");
            machine.run(&format!("{cut}{APPLY}"), &arguments);
            let left = machine.read(head);
            assert!(left.ends_with("# theirs\n"), "{:?} {program}: {left}", machine.shell);
            assert_eq!(machine.apply(""), "");
            machine.undo();
            assert_eq!(machine.read(head), "# theirs\n");
            assert_eq!(fs::read_dir(machine.path("etc/resolvconf/resolv.conf.d")).unwrap().count(), 1);
        }
    });
}

#[test]
fn the_second_coredns_is_the_clusters_too() {
    on_each(|machine| {
        let dual = "dns_mode: coredns_dual\nskydns_server_secondary: 10.233.0.4";
        assert_eq!(machine.apply(dual), "");
        let servers = "\nnameserver 10.233.0.3\nnameserver 10.233.0.4\nnameserver 192.0.2.53\n";
        assert!(machine.read("etc/resolv.conf").contains(servers), "{}", machine.read("etc/resolv.conf"));
        let own = "nameserver 192.0.2.53\nsearch example.org\n";
        assert_eq!(machine.for_pods(dual), own);
        // A machine that asks it by itself, as kubespray has had it.
        machine.undo();
        machine.write("etc/resolv.conf", &format!("nameserver 10.233.0.4\n{own}"));
        assert_eq!(machine.for_pods(dual), own);
        let lines: Vec<String> = machine.read("etc/resolv.conf").lines().map(str::to_owned).collect();
        let vars = machine.arguments(dual).0;
        assert!(vars.has_the_clusters(&lines) && vars.gone(&lines).is_none());
        assert_eq!(machine.arguments("").0.gone(&lines), Some("10.233.0.4"));
    });
}

#[test]
fn what_programs_do_not_ask_any_more_is_known() {
    let of = |yaml: &str, own: &[&str]| {
        let vars: Vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap();
        vars.left_out(&own.iter().map(|server| format!("nameserver {server}")).collect::<Vec<_>>()).join(" ")
    };
    assert_eq!(of("", &["192.0.2.1", "192.0.2.2"]), "");
    assert_eq!(of("", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]), "192.0.2.3");
    assert_eq!(
        of("nameservers: [192.0.2.2, 192.0.2.9]", &["10.233.0.3", "192.0.2.1", "192.0.2.2"]),
        "192.0.2.1"
    );
    let cached = "enable_nodelocaldns: true\ndisable_host_nameservers: true\nnameservers: [a, 192.0.2.9]";
    assert_eq!(of(cached, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]), "");
}

#[test]
fn the_host_of_a_url_is_what_is_looked_up() {
    for (url, host) in [
        ("http://proxy.example.org:3128", Some("proxy.example.org")),
        ("https://me:secret@proxy.example.org/", Some("proxy.example.org")),
        ("api.example.org", Some("api.example.org")),
        ("", None),
    ] {
        assert_eq!(host_of(url), host, "{url}");
    }
}
