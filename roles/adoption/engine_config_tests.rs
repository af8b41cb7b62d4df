//! What is told of configurations of both versions of containerd, in the form in which it prints them.

use super::*;

/// Of what containerd 2.2.1 and 1.7.28 print where nobody has configured them.
const USUAL_2: &str = r#"
version = 3
root = '/var/lib/containerd'
state = '/run/containerd'
required_plugins = []
oom_score = 0
imports = ['/etc/containerd/conf.d/*.toml']

[debug]
  address = ''
  level = ''
  format = ''

[plugins]
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'
    max_concurrent_downloads = 3
    image_pull_progress_timeout = '5m0s'

    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = 'registry.k8s.io/pause:3.10.1'

    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'

  [plugins.'io.containerd.cri.v1.runtime']
    enable_selinux = false
    restrict_oom_score_adj = false
    device_ownership_from_security_context = false
    enable_unprivileged_ports = true

    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'

      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]
        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
          runtime_type = 'io.containerd.runc.v2'
          base_runtime_spec = ''
          sandboxer = 'podsandbox'

          [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
            BinaryName = ''
            SystemdCgroup = false

    [plugins.'io.containerd.cri.v1.runtime'.cni]
      bin_dir = ''
      bin_dirs = ['/opt/cni/bin']
      conf_dir = '/etc/cni/net.d'

  [plugins.'io.containerd.nri.v1.nri']
    disable = false

[proxy_plugins]
"#;
const USUAL_1: &str = r#"
disabled_plugins = []
root = "/var/lib/containerd"
state = "/run/containerd"
version = 2

[debug]
  address = ""
  level = ""
  format = ""

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    device_ownership_from_security_context = false
    enable_selinux = false
    enable_unprivileged_ports = true
    max_concurrent_downloads = 3
    image_pull_progress_timeout = "5m0s"
    restrict_oom_score_adj = false
    sandbox_image = "registry.k8s.io/pause:3.8"
    stream_server_port = "0"

    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/opt/cni/bin"
      conf_dir = "/etc/cni/net.d"

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      snapshotter = "overlayfs"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          base_runtime_spec = ""
          runtime_type = "io.containerd.runc.v2"
          sandboxer = "podsandbox"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            BinaryName = ""
            SystemdCgroup = false

    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.configs]

  [plugins."io.containerd.nri.v1.nri"]
    disable = false

[proxy_plugins]
"#;

/// What muster writes where variables say nothing.
const WILL: &str = r#"
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = -999
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.10.2"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = false
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/usr/local/bin/runc"
SystemdCgroup = true
"#;

fn between(has: &str, usual: &str, will: &str, docker_certs: bool) -> Vec<Problem> {
    let [has, usual, will] = [has, usual, will].map(|text| Tree::parse(text).unwrap());
    problems("node1", [&has, &usual, &will], docker_certs)
}

/// The usual configuration with some of its text in another way.
fn changed(usual: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(usual.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    })
}

fn remedies(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|problem| problem.remedy.replace(OF_HOST, "")).collect()
}

#[test]
fn what_nobody_has_configured_is_not_told() {
    for usual in [USUAL_2, USUAL_1] {
        assert_eq!(between(usual, usual, WILL, false), []);
    }
    // What kubespray and guides write that says no more than that, and what is told by other checks.
    let same = changed(
        USUAL_2,
        &[
            ("level = ''", "level = 'info'"),
            ("'5m0s'", "'5m'"),
            (
                "config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'",
                "config_path = '/etc/containerd/certs.d/'",
            ),
            ("BinaryName = ''", "BinaryName = '/usr/sbin/runc'"),
            ("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"),
            ("base_runtime_spec = ''", "base_runtime_spec = '/etc/containerd/cri-base.json'"),
            ("pause:3.10.1", "pause:3.9"),
        ],
    );
    assert_eq!(between(&same, USUAL_2, WILL, false), []);
    // Where certificates of registries are in Docker's folder they would be lost.
    let told = between(USUAL_2, USUAL_2, WILL, true);
    assert!(told.len() == 1 && told[0].found.contains("config_path"), "{told:?}");
}

#[test]
fn a_setting_is_told_with_the_variable_that_keeps_it() {
    let settings = [
        ("enable_selinux = false", "enable_selinux = true"),
        ("device_ownership_from_security_context = false", "device_ownership_from_security_context = true"),
        ("enable_unprivileged_ports = true", "enable_unprivileged_ports = false"),
        ("disable = false", "disable = true"),
    ];
    for usual in [USUAL_2, USUAL_1] {
        let lines = remedies(between(&changed(usual, &settings), usual, WILL, false));
        assert_eq!(
            lines,
            [
                "add to containerd_extra_runtime_args: {device_ownership_from_security_context: true}",
                "set containerd_enable_selinux: true",
                "set containerd_enable_unprivileged_ports: false",
                "set nri_enabled: false",
            ]
        );
    }
    let will = format!("root = \"/data\"\n{}", WILL.replace("root = \"/var/lib/containerd\"\n", ""));
    assert_eq!(
        remedies(between(USUAL_1, USUAL_1, &will, false)),
        ["set containerd_storage_dir: \"/var/lib/containerd\""]
    );
    let said = WILL.replace("restrict_oom", "enable_selinux = true\nrestrict_oom");
    let has = changed(USUAL_2, &settings[..1]);
    assert_eq!(between(&has, USUAL_2, &said, false), []);
    // And what the inventory says that the machine has not.
    assert_eq!(remedies(between(USUAL_2, USUAL_2, &said, false)), ["set containerd_enable_selinux: false"]);
}

#[test]
fn what_no_variable_is_for_is_told_by_its_name() {
    let has = changed(
        USUAL_2,
        &[
            ("bin_dir = ''", "bin_dir = '/usr/lib/cni'"),
            ("bin_dirs = ['/opt/cni/bin']", "bin_dirs = []"),
            ("max_concurrent_downloads = 3", "max_concurrent_downloads = 9"),
            ("BinaryName = ''", "BinaryName = '/usr/bin/crun'"),
            ("/etc/containerd/certs.d:/etc/docker/certs.d", "/etc/own"),
            (
                "[plugins.'io.containerd.cri.v1.runtime']",
                "[plugins.'io.containerd.cri.v1.images'.registry.headers]\nX = 'hidden'\n[plugins.'io.containerd.cri.v1.runtime']",
            ),
        ],
    );
    let told = between(&has, USUAL_2, WILL, false);
    assert_eq!(told.len(), 5, "{told:?}");
    for word in [
        "bin_dirs = [\"/usr/lib/cni\"] in [plugins.\"io.containerd.cri.v1.runtime\".cni]",
        "max_concurrent_downloads = 9",
        "BinaryName = \"/usr/bin/crun\"",
        "config_path = \"/etc/own\"",
        "has X in [plugins.\"io.containerd.cri.v1.images\".registry.headers]",
    ] {
        assert!(told.iter().any(|problem| problem.found.contains(word)), "{word}: {told:?}");
    }
    assert!(told.iter().all(|problem| problem.check == "containerd"), "{told:?}");
}

#[test]
fn tables_beside_those_for_kubernetes_are_lines_of_a_variable() {
    let more = "[proxy_plugins.stargz]\ntype = \"snapshot\"\n";
    let has = format!("{USUAL_2}\n{more}");
    let told = between(&has, USUAL_2, WILL, false);
    assert!(told.len() == 1 && told[0].check == "containerd_extra_args", "{told:?}");
    assert!(told[0].found.contains("type = \"snapshot\" in [proxy_plugins.stargz]"), "{told:?}");
    assert_eq!(between(&has, USUAL_2, &format!("{WILL}{more}"), false), []);
    let has = changed(USUAL_2, &[("required_plugins = []", "required_plugins = ['a']")]);
    let lines = remedies(between(&has, USUAL_2, WILL, false));
    assert_eq!(lines, ["add to containerd_extra_args the line required_plugins = [\"a\"]"]);
}

#[test]
fn runtimes_and_registries_are_told_as_a_whole_and_options_of_those_that_stay() {
    for (usual, plugin) in [(USUAL_2, "io.containerd.cri.v1.runtime"), (USUAL_1, OF_1)] {
        let table = format!("plugins.\"{plugin}\".containerd.runtimes.nvidia");
        let runtime = format!(
            "[{table}]\nruntime_type = \"io.containerd.runc.v2\"\nsandboxer = \"podsandbox\"\n[{table}.options]\nBinaryName = \"/usr/bin/n\"\n"
        );
        let images = if plugin == OF_1 { OF_1 } else { IMAGES };
        let registry = format!(
            "[plugins.\"{images}\".registry.configs.\"r.example.org:5000\".auth]\npassword = \"hidden\"\n"
        );
        let has = changed(
            usual,
            &[("default_runtime_name = \"runc\"", "default_runtime_name = \"nvidia\"")].map(|(old, new)| {
                match plugin == OF_1 {
                    true => (old, new),
                    false => ("default_runtime_name = 'runc'", "default_runtime_name = 'nvidia'"),
                }
            }),
        );
        let has = format!("{has}\n{runtime}{registry}");
        let told = between(&has, usual, WILL, false);
        assert_eq!(told.len(), 3, "{told:?}");
        for word in ["the runtime nvidia", "of r.example.org:5000 in", "default_runtime_name = \"nvidia\""] {
            assert!(told.iter().any(|problem| problem.found.contains(word)), "{word}: {told:?}");
        }
        assert!(told.iter().all(|problem| !problem.found.contains("hidden")), "{told:?}");
        let will = "plugins.\"io.containerd.cri.v1.runtime\".containerd";
        let will = format!(
            "{WILL}[{will}]\ndefault_runtime_name = \"nvidia\"\n[{will}.runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\"\n"
        );
        let lines = remedies(between(&has, usual, &will, false));
        assert_eq!(lines.len(), 2, "{lines:?}");
        let line =
            "add to the options of nvidia in containerd_additional_runtimes: {BinaryName: \"/usr/bin/n\"}";
        assert_eq!(lines[1], line);
    }
}

#[test]
fn spans_of_time_are_the_same_in_both_ways() {
    for (text, same) in [("5m0s", "5m"), ("4h0m0s", "4h"), ("10s", "10s"), ("90m", "90m"), ("10m", "10m")] {
        assert_eq!(span(text), same);
    }
}
