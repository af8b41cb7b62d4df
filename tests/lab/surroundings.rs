//! What is around the machines: a proxy, registries, servers of names, and who looks at etcd.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::fixture::{Ended, Lab};

/// Where the proxy, which is a registry too, and the server of names are on the controller.
const PROXY: u16 = 3128;
const NAMES: u16 = 5353;

/// What the world beside the machines was asked.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    pub(crate) fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    /// Waits until something like this was asked.
    pub(crate) fn waits_for(&self, what: &str) {
        let begun = Instant::now();
        while !self.0.lock().unwrap().iter().any(|asked| asked.contains(what)) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "nobody asked for {what}: {:?}",
                self.0.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A thread in the network of the controller, which is where `PROXY` and `NAMES` are.
pub(crate) fn beside<T: Send + 'static>(
    namespace: PathBuf,
    bind: impl FnOnce() -> T + Send + 'static,
    serve: impl FnOnce(T) + Send + 'static,
) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let inside = File::open(namespace).unwrap();
        move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let bound = bind();
        ready.send(()).unwrap();
        serve(bound);
    });
    is_ready.recv().unwrap();
}

/// A proxy that passes nothing on, and a registry that wants to know who asks and has nothing.
fn proxy(listener: TcpListener, asked: &Asked) {
    for stream in listener.incoming() {
        let (mut stream, asked) = (stream.unwrap(), asked.clone());
        thread::spawn(move || {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some(request) = head.first() else { return };
            let who = head.iter().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
            asked.note(format!("{request} {}", who.map_or("", String::as_str)));
            let answer = match who.is_none() && request.contains(" /v2/") {
                true => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"",
                false => "404 Not Found",
            };
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
        });
    }
}

/// A server of names that knows one address for every name.
fn names(socket: UdpSocket, asked: &Asked) {
    let mut packet = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let question = &packet[12..length];
        let end = question.iter().position(|&byte| byte == 0).unwrap() + 5;
        asked.note(String::from_utf8_lossy(&question[..end - 5]).into_owned());
        // RFC 1035, 4.1: an answer with an address (type A), or none.
        let is_address = question[end - 3] == 1;
        let mut answer = packet[..2].to_vec();
        answer.extend([0x84, 0, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
        answer.extend(&question[..end]);
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 9]);
        }
        socket.send_to(&answer, from).ok();
    }
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn proxies_registries_names_and_metrics_come_and_go() {
    let lab = Lab::up(172, &["-n", "2"]);
    let asked = Asked::default();
    let beside_lab = asked.clone();
    beside(
        lab.namespace(),
        || TcpListener::bind(("0.0.0.0", PROXY)).unwrap(),
        move |socket| proxy(socket, &beside_lab),
    );
    let beside_lab = asked.clone();
    beside(
        lab.namespace(),
        || UdpSocket::bind(("0.0.0.0", NAMES)).unwrap(),
        move |socket| names(socket, &beside_lab),
    );

    let controller = lab.address(1).replace(".4", ".1");
    let folder = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&folder).unwrap();
    let say = |text: &str| fs::write(folder.join("all.yml"), text).unwrap();
    let set_up = || -> Ended { lab.muster(&["setup-cluster", "--offline", &lab.pattern(2)]) };
    let well = || {
        let ended = set_up();
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let unchanged = || assert_eq!(["node1", "node2"].map(|host| well().recap(host, "changed")), [0; 2]);
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat());

    let all = format!(
        "http_proxy: http://{controller}:{PROXY}\nhttps_proxy: http://{controller}:{PROXY}\n\
         docker_insecure_registries: ['{controller}:{PROXY}']\n\
         containerd_registry_auth: [{{registry: '{controller}:{PROXY}', username: muster, password: s3cret}}]\n\
         containerd_limit_open_file_num: 123456\nnri_enabled: false\n\
         coredns_external_zones: [{{zones: [corp.example], nameservers: ['{controller}:{NAMES}']}}]\n\
         dns_etchosts: 127.0.0.8 mirror.example.org\npopulate_inventory_to_hosts_file: true\n\
         etcd_metrics_port: 2381\netcd_memory_limit: 2G\n"
    );
    say(&all);
    let first = well();
    assert!(!first.all().contains("s3cret"));
    unchanged();

    // Images of registries elsewhere are asked for through the proxy, of those that are near without, by who we are.
    for (name, image) in
        [("far", "registry.example.org/far/image:1"), ("near", &format!("{controller}:{PROXY}/near/image:1"))]
    {
        assert_eq!(kubectl(&["run", name, "--image", image]).code, 0);
    }
    asked.waits_for("CONNECT registry.example.org:443");
    // muster:s3cret
    asked.waits_for("/v2/near/image/manifests/1 HTTP/1.1 Authorization: Basic bXVzdGVyOnMzY3JldA==");
    assert!(!lab.on("node2", "systemctl show containerd; journalctl -u containerd").contains("s3cret"));
    assert!(lab.on("node2", "systemctl show -p LimitNOFILE containerd").contains("123456"));

    // Names of others, for pods: nothing listens at these addresses, and that is known at once.
    kubectl(&["run", "asks", "--image", &lab.agnhost()]);
    let ready = kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/asks"]);
    assert_eq!(ready.code, 0, "{ready:#?}");
    let reaches = |name: &str| {
        kubectl(&["exec", "asks", "--", "/agnhost", "connect", "--timeout", "9s", &format!("{name}:1")]).all()
    };
    assert!(reaches("a.corp.example").contains("REFUSED"));
    asked.waits_for("corp");
    assert!(reaches("mirror.example.org").contains("REFUSED"));
    let metrics = lab.on(
        "node1",
        "exec 3<>/dev/tcp/127.0.0.1/2381; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    );
    assert!(metrics.contains("etcd_server_has_leader 1"), "{metrics}");
    assert!(lab.on("node1", "systemctl show -p MemoryMax etcd").contains("2147483648"));
    let hosts = |name: &str| lab.on(name, "grep -c '# muster: inventory' /etc/hosts || :").trim().to_owned();
    assert_eq!((hosts("node1"), hosts("node2")), ("2".to_owned(), "2".to_owned()));

    // What CoreDNS or containerd does not take changes nothing, and is told.
    say(&format!("{all}coredns_additional_configs: nonsense\n"));
    let refused = set_up();
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.all().contains("Unknown directive 'nonsense'"), "{refused:#?}");
    let api = "kubernetes.default.svc.cluster.local:443";
    let finds = || kubectl(&["exec", "asks", "--", "/agnhost", "connect", "--timeout", "9s", api]);
    assert_eq!(finds().code, 0, "names are found all the same");
    // Also by pods that take the places of those of before: they read the former configuration.
    assert_eq!(kubectl(&["-n", "kube-system", "delete", "pods", "-l", "k8s-app=kube-dns"]).code, 0);
    let begun = Instant::now();
    while finds().code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no CoreDNS is there any more");
        thread::sleep(Duration::from_secs(1));
    }
    say(&format!("{all}containerd_extra_runtime_args: {{nonsense: 1}}\n"));
    let before = lab.on("node2", "cat /etc/containerd/config.toml");
    let refused = set_up();
    assert!(refused.code == 2 && refused.all().contains("containerd does not take"), "{refused:#?}");
    assert_eq!(lab.on("node2", "cat /etc/containerd/config.toml"), before);

    // Everything goes again; also what the variables do not say any more.
    say("");
    let diff = lab.muster(&["setup-cluster", "--offline", "--check", "--diff"]);
    assert!(diff.out.contains("config.toml") && !diff.all().contains("s3cret"), "{diff:#?}");
    well();
    assert_eq!((hosts("node1"), hosts("node2")), ("0".to_owned(), "0".to_owned()));
    for gone in ["/etc/containerd/proxies.env", "/etc/containerd/certs.d/*/hosts.toml"] {
        assert!(!lab.has("node2", gone), "{gone}");
    }
    unchanged();
    say(&all);
    well();
    say("");
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    assert_eq!(hosts("node1"), "0");
    assert!(!lab.has("node2", "/etc/containerd"));
}
