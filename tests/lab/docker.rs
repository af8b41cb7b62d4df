//! Docker beside containerd on real machines: it comes, works, goes and comes again under a pod that notices nothing.

use crate::fixture::{Lab, bundle_has};

/// An image that nobody has to fetch: a shell and what it needs, of the machine itself.
const IMPORT: &str = "tar -chC / bin/sh bin/cat lib/x86_64-linux-gnu/libc.so.6 lib64/ld-linux-x86-64.so.2 | docker import - own:1";
const BUILD: &str = r#"mkdir -p /root/image && cd /root/image && printf '%s\n' 'FROM own:1' 'RUN echo built >/said' 'CMD ["/bin/cat", "/said"]' >Dockerfile
docker build -q -t own:2 . 2>/dev/null && docker run --rm own:2"#;

#[test]
#[ignore = "it needs Docker in the bundle, and takes minutes; ./test --all"]
fn docker_comes_works_and_goes_beside_kubernetes() {
    if !bundle_has("docker") {
        eprintln!("skipped: the bundle has no Docker (muster bundle build --with docker)");
        return;
    }
    let lab = Lab::up(218, &["-n", "2"]);
    let setup = |manager: &str| {
        lab.muster(&[
            "setup-cluster",
            &lab.pattern(2),
            "--offline",
            "-e",
            &format!("container_manager={manager}"),
        ])
    };
    let works = |manager: &str| {
        let ended = setup(manager);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let unchanged = |manager: &str| {
        let again = works(manager);
        assert_eq!(again.out.matches("changed=0").count(), 2, "{again:#?}");
    };
    let started = || {
        lab.on("node2", "systemctl show -p ActiveEnterTimestampMonotonic containerd kubelet")
            .replace('\n', " ")
    };

    works("docker");
    lab.on("node2", IMPORT);
    assert_eq!(lab.on("node2", "docker run --rm own:1 /bin/sh -c 'echo hello'").trim(), "hello");
    assert!(lab.on("node2", BUILD).ends_with("built\n"));
    let info = lab.on("node2", "docker info -f '{{.CgroupDriver}} {{.ServerVersion}} {{.LoggingDriver}}'");
    assert_eq!(info.trim(), "systemd 28.5.2 json-file");
    lab.on("node2", "docker volume create data && docker run -dit --name stays own:1 /bin/sh");
    // Both have their containers in the one containerd.
    let spaces = lab.on("node2", "ctr namespaces ls -q");
    assert!(spaces.contains("k8s.io") && spaces.contains("moby"), "{spaces}");
    unchanged("docker");

    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    kubectl(&["run", "app", "--image", &lab.agnhost()]);
    kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/app"]);
    let before = started();

    // Not under a container that runs; and then without what its users have.
    let refused = setup("containerd");
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.all().contains("$(docker ps -q)"), "{refused:#?}");
    assert_eq!(lab.on("node2", "docker ps -q | wc -l").trim(), "1");
    lab.on("node2", "docker stop -t 1 stays");
    let off = works("containerd");
    assert!(off.all().contains("cd /var/lib/docker && rm -rf buildkit "), "{off:#?}");
    for path in
        ["/usr/local/bin/docker", "/etc/docker", "/run/docker", "/run/docker.sock", "/sys/class/net/docker0"]
    {
        assert!(!lab.has("node2", path), "{path}");
    }
    assert!(lab.has("node2", "/var/lib/docker/volumes/data"));
    unchanged("containerd");

    works("docker");
    assert_eq!(lab.on("node2", "docker run --rm own:1 /bin/sh -c 'echo again'").trim(), "again");
    assert_eq!(lab.on("node2", "docker volume ls -q").trim(), "data");
    assert_eq!(started(), before, "containerd and the kubelet were not restarted");
    let restarts =
        kubectl(&["get", "pod", "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]);
    assert_eq!(restarts, "0");

    // dockerd takes it, and does not start with it: nobody has made that bridge.
    let with = |options: &str| {
        let (manager, options) = ("container_manager=docker", format!("docker_options={options}"));
        lab.muster(&["setup-cluster", &lab.pattern(2), "--offline", "-e", manager, "-e", &options])
    };
    let bad = with("--bridge=nosuch0");
    assert!(bad.code != 0 && bad.all().contains("it goes on with what it had before"), "{bad:#?}");
    assert_eq!(lab.on("node2", "docker run --rm own:1 /bin/sh -c 'echo still'").trim(), "still");
    unchanged("docker");
    // What is seen beforehand stops nothing: a bridge among the pods, and an address that is none.
    for options in ["--bip=10.233.64.1/20", "--bip=172.30.0.300/24"] {
        let refused = with(options);
        assert!(refused.code == 3 && refused.all().contains(options), "{refused:#?}");
    }
    assert_eq!(lab.on("node2", "stat -c %a /etc/docker/daemon.json").trim(), "600");

    // A container that outlives Docker goes where all of others' goes; one of before ends with the restart, which is told.
    lab.on("node2", "docker run -dit --rm --name ends own:1 /bin/sh");
    let live = with("--live-restore");
    assert!(live.code == 0 && live.all().contains("its containers that run (1)"), "{live:#?}");
    lab.on("node2", "[ -z \"$(docker ps -aqf name=ends)\" ]");
    lab.on("node2", "docker run -dit --name outlives own:1 /bin/sh && pgrep -f -- '-namespace [m]oby'");
    let reset = lab.muster(&["reset-cluster", "--foreign", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    lab.on("node2", "! pgrep -f -- '-namespace [m]oby'");
    assert!(reset.all().contains("to remove them, on node2: cd /var/lib/docker && rm -rf "), "{reset:#?}");
    for path in [
        "/usr/local/bin/dockerd",
        "/etc/systemd/system/docker.service",
        "/etc/docker",
        "/sys/class/net/docker0",
    ] {
        assert!(!lab.has("node2", path), "{path}");
    }
    assert!(lab.has("node2", "/var/lib/docker/volumes/data"));
}
