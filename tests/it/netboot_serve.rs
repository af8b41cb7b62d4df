//! `muster netboot serve`, `status` and `wake`: a classroom in network namespaces, with real clients of DHCP, TFTP and HTTP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;
use muster_testkit::sshd::generate_key;

use crate::fixture::{Ended, Test, muster};
use crate::network::{Computer, Network, can_be_made};

const INVENTORY: &str = "s4 ansible_host=192.0.2.4 mac_address=52:54:00:12:34:56\ns5 ansible_host=192.0.2.5 mac_address=52:54:00:12:34:57\n\
                         [all:vars]\nansible_user=admin\nansible_ssh_private_key_file=key\nnetboot_url=http://192.0.2.1:8080\n";
const KERNEL: &str = "images/flatcar_production_pxe.vmlinuz";
const SERVE: [&str; 4] = ["netboot", "serve", "--interface", "br0"];
const SERVER: [&str; 2] = ["--dhcp", "192.0.2.100-192.0.2.101"];

/// A classroom of two machines that was rendered.
fn classroom() -> Test {
    let test = muster()
        .file("inventory/hosts.ini", INVENTORY)
        .file("coreos.yml", "passwd:\n  users:\n    - name: admin\n      groups: [sudo]\n")
        .file("ipxe/undionly.kpxe", "iPXE for a BIOS")
        .file("ipxe/ipxe.efi", "iPXE for UEFI");
    generate_key(&test.folder().join("key"), "ed25519", "");
    // dnsmasq reads as a user of its own.
    let above = test.folder().parent().unwrap().to_owned();
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    test.run(&["netboot", "render", "coreos.yml", "-o", "www"]).code(0);
    test
}

/// The program at work.
struct Serving {
    child: Child,
    told: Arc<Mutex<String>>,
}

impl Serving {
    fn start(test: &Test, at: &Computer, arguments: &[&str]) -> Self {
        let mut command = at.command(env!("CARGO_BIN_EXE_muster"));
        command
            .args(SERVE)
            .args(["--ipxe", "ipxe"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = test.at_home(command).spawn().unwrap();
        let told = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let told = Arc::clone(&told);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    told.lock().unwrap().push_str(&format!("{line}\n"));
                }
            });
        }
        let serving = Self { child, told };
        serving.tells("Ctrl-C ends it");
        serving
    }

    /// Waits for a text.
    #[track_caller]
    fn tells(&self, text: &str) {
        let begun = Instant::now();
        while !self.told.lock().unwrap().contains(text) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{text:?} is not in:\n{}",
                self.told.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn count(&self, text: &str) -> usize {
        self.told.lock().unwrap().matches(text).count()
    }

    /// Ends it with a signal; the exit code.
    fn end(mut self, signal: &str) -> Option<i32> {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs the program to its end in a network.
fn run(test: &Test, at: &Computer, arguments: &[&str]) -> Ended {
    let mut command = at.command(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments);
    test.execute(test.at_home(command), "")
}

/// What a BIOS gets from the server of DHCP: its address, and the file that it is to boot.
fn boot(test: &Test, machine: &Computer) -> String {
    let script = "#!/bin/sh\n[ \"$1\" != bound ] || { ip address replace \"$ip/24\" dev eth0; echo \"$ip $bootfile $boot_file\"; }\n";
    muster_testkit::program::write(&test.folder().join("bound"), script);
    let hook = test.folder().join("bound").display().to_string();
    let pxe = ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000", "-O", "bootfile"];
    let words = [&["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", &hook][..], &pxe].concat();
    machine.run("busybox", &words)
}

fn curl(machine: &Computer, path: &str) -> String {
    let url = format!("http://192.0.2.1:8080/{path}");
    machine.run("curl", &["-sS", "-w", "%{http_code}", "-o", "/dev/null", &url])
}

#[test]
fn a_classroom_boots_from_the_desk_as_its_dhcp_server() {
    if !can_be_made("a classroom that boots from muster netboot serve", &["dnsmasq", "busybox", "curl"]) {
        return;
    }
    let mut network = Network::new();
    let (s4, stranger) = (network.machine("52:54:00:12:34:56"), network.machine("52:54:00:99:99:99"));
    let test = classroom();
    run(&test, &network.desk, &[&SERVE[..], &["--ipxe", "ipxe", "--check"], &SERVER].concat())
        .code(0)
        .nothing_written()
        .stdout_has(&["interface=br0\n", "dhcp-host=52:54:00:12:34:56,192.0.2.4,s4\n"])
        .stderr_has(&["www/images/flatcar_production_pxe.vmlinuz is not there", "nothing was started"]);
    let serving = Serving::start(&test, &network.desk, &SERVER);

    let bound = boot(&test, &s4);
    assert!(bound.contains("192.0.2.4 ") && bound.contains("undionly.kpxe"), "{bound}");
    serving.tells("s4 (52:54:00:12:34:56, 192.0.2.4) asked how to boot, and was told to fetch iPXE (dhcp)");
    let fetched = test.folder().join("fetched").display().to_string();
    s4.run("busybox", &["tftp", "-g", "-l", &fetched, "-r", "undionly.kpxe", "192.0.2.1"]);
    assert_eq!(fs::read_to_string(&fetched).unwrap(), "iPXE for a BIOS");
    serving.tells("s4 (52:54:00:12:34:56, 192.0.2.4) fetched undionly.kpxe (ipxe)");
    for path in ["boot.ipxe", "mac/52-54-00-12-34-56.ipxe", "name/s4.ipxe"] {
        assert_eq!(curl(&s4, path), "200");
    }
    serving.tells("fetched name/s4.ipxe (script)");
    // The image is not there yet, then is cut off in the middle, then arrives.
    assert_eq!(curl(&s4, KERNEL), "404");
    serving.tells("asked for images/flatcar_production_pxe.vmlinuz, which is not there (kernel)");
    fs::create_dir_all(test.folder().join("www/images")).unwrap();
    fs::write(test.folder().join("www").join(KERNEL), vec![7; 32_000_000]).unwrap();
    s4.inside(|| {
        let mut stream = TcpStream::connect("192.0.2.1:8080").unwrap();
        stream.write_all(format!("GET /{KERNEL} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        stream.read_exact(&mut vec![0; 1_000_000]).unwrap();
    });
    serving.tells(" of 32.0 MB of images/flatcar_production_pxe.vmlinuz (kernel); it tries again by itself");
    assert_eq!(curl(&s4, KERNEL), "200");
    serving.tells("fetched images/flatcar_production_pxe.vmlinuz, 32.0 MB (kernel)");
    assert_eq!(curl(&s4, "ignition/s4.ign"), "200");
    serving.tells("fetched ignition/s4.ign: its system starts (ignition)");
    assert_eq!(curl(&s4, "ignition/s5.ign"), "200");
    serving.tells("fetched ignition/s5.ign, which is another machine's");
    assert_eq!(curl(&s4, "ignition/s4.ign"), "200");

    // A machine that is not in the inventory.
    let bound = boot(&test, &stranger);
    assert!(bound.contains("192.0.2.10"), "{bound}");
    assert_eq!(curl(&stranger, "unknown.ipxe"), "200");
    serving.tells("write this behind one of the inventory's hosts: mac_address=52:54:00:99:99:99, then: muster netboot render coreos.yml -o www");
    boot(&test, &stranger);
    assert_eq!(serving.count("mac_address=52:54:00:99:99:99"), 1);

    // The classroom is what the desk serves, and the desk serves nowhere else.
    network.desk.inside(|| {
        let other = TcpStream::connect_timeout(&"127.0.0.1:8080".parse().unwrap(), Duration::from_secs(2));
        assert!(other.is_err(), "it answers on another interface");
    });
    run(&test, &network.desk, &[&SERVE[..], &["--ipxe", "ipxe"]].concat())
        .code(1)
        .nothing_written()
        .stderr_has(&[
            "cannot serve at http://192.0.2.1:8080: Address already in use",
            "ss -ltnp 'sport = :8080'",
        ]);

    let status = run(&test, &network.desk, &["netboot", "status", "--json"]).code(0).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["s4"]["last"]["stage"], "ignition", "{status}");
    assert_eq!((&status["s4"]["address"], &status["s4"]["started"]), (&"192.0.2.4".into(), &true.into()));
    assert_eq!((&status["s4"]["ssh"], &status["s5"]["booted"]), (&false.into(), &serde_json::Value::Null));
    run(&test, &network.desk, &["netboot", "status", "s5"]).code(0).stdout_has(&["s5", "never"]);

    // Ctrl-C ends everything; and so does a muster that is killed.
    assert_eq!(serving.end("-INT"), Some(0));
    let serving = Serving::start(&test, &network.desk, &SERVER);
    assert_eq!(serving.end("-KILL"), None);
    let begun = Instant::now();
    while network
        .desk
        .inside(|| UdpSocket::bind("0.0.0.0:67").is_err() || TcpListener::bind("192.0.2.1:8080").is_err())
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "somebody is left behind");
        thread::sleep(Duration::from_millis(50));
    }
    held(
        "the web server's connection is cut off while a machine boots",
        "a client that goes away after 1 MB of 32 MB",
        1,
        "it is told how far it was, and the next attempt arrives",
    );
    held(
        "muster netboot serve is killed",
        "SIGKILL while dnsmasq is at work",
        1,
        "dnsmasq ends as well: no DHCP server is left behind",
    );
}

/// Somebody else's server, until this is dropped.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The card of s4.
const S4: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// The answers to a question that is asked from a machine by DHCP: whose, and the file to boot.
fn ask(machine: &Computer, mac: [u8; 6], is_ipxe: bool) -> Vec<(Ipv4Addr, String)> {
    machine.inside(|| {
        let mut message = vec![0; 236];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 9, 9, 9, 9]);
        message[10] = 0x80;
        message[28..34].copy_from_slice(&mac);
        message.extend([99, 130, 83, 99, 53, 1, 1, 93, 2, 0, 0, 60, 32]);
        message.extend(b"PXEClient:Arch:00000:UNDI:002001");
        if is_ipxe {
            message.extend([77, 4, b'i', b'P', b'X', b'E', 175, 3, 1, 1, 1]);
        }
        message.extend([255; 60]);
        // The switch's own address is no way out yet.
        Command::new("ip").args(["route", "replace", "default", "dev", "eth0"]).status().unwrap();
        let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        socket.send_to(&message, "255.255.255.255:67").unwrap();
        let mut answers = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let file = buffer[108..236].split(|byte| *byte == 0).next().unwrap();
            let std::net::IpAddr::V4(peer) = peer.ip() else { panic!("IPv6") };
            assert!(length > 240);
            answers.push((peer, String::from_utf8(file.to_vec()).unwrap()));
        }
        answers.sort();
        answers
    })
}

#[test]
fn beside_a_dhcp_server_only_what_to_boot_is_said_and_a_second_server_is_refused() {
    if !can_be_made("a classroom beside a DHCP server", &["dnsmasq"]) {
        return;
    }
    let mut network = Network::new();
    let (s4, other) = (network.machine("52:54:00:12:34:56"), network.machine("52:54:00:00:00:09"));
    let test = classroom();
    let alone = [&SERVE[..], &["--ipxe", "ipxe", "--check"]].concat();
    run(&test, &network.desk, &alone).code(0).stderr_has(&["warning: no DHCP server has answered on br0"]);
    other.run("ip", &["address", "add", "192.0.2.9/24", "dev", "eth0"]);
    let mut server = other.command("dnsmasq");
    let leases = format!("--dhcp-leasefile={}", test.folder().join("other").display());
    server.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping", &leases]);
    server.args(["--dhcp-range=192.0.2.50,192.0.2.60,1h", "--log-facility=/dev/null"]);
    let server = Other(server.spawn().unwrap());
    let begun = Instant::now();
    while other.inside(|| UdpSocket::bind("0.0.0.0:67").is_ok()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "there is no second server");
        thread::sleep(Duration::from_millis(50));
    }

    run(&test, &network.desk, &[&SERVE[..], &["--ipxe", "ipxe"], &SERVER].concat())
        .code(1)
        .nothing_written()
        .stderr_has(&[
            "192.0.2.9 is a DHCP server on br0 already, and has offered 192.0.2.",
            "hint: leave --dhcp out",
        ]);
    let serving = Serving::start(&test, &network.desk, &[]);
    assert_eq!(serving.count("warning: no DHCP server"), 0);
    let (desk, dhcp) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(ask(&s4, S4, false), [(desk, String::new()), (dhcp, String::new())]);
    serving.tells("s4 (52:54:00:12:34:56) asked how to boot, and was told to fetch iPXE (dhcp)");
    assert_eq!(
        ask(&s4, S4, true),
        [(desk, "http://192.0.2.1:8080/boot.ipxe".to_owned()), (dhcp, String::new())]
    );
    serving.tells("s4 (52:54:00:12:34:56) runs iPXE, and was told to fetch boot.ipxe (ipxe)");

    // Somebody else's machine, which boots from somewhere else, or from its disk.
    let stranger = network.machine("52:54:00:99:99:99");
    assert_eq!(ask(&stranger, [0x52, 0x54, 0, 0x99, 0x99, 0x99], false), [(dhcp, String::new())]);
    serving.tells("52:54:00:99:99:99 is not in the inventory");

    // Another desk of the same classroom, which would say something else.
    let second = network.machine("52:54:00:00:00:02");
    second.run("ip", &["link", "set", "eth0", "down"]);
    second.run("ip", &["link", "set", "eth0", "name", "br0"]);
    second.run("ip", &["link", "set", "br0", "up"]);
    second.run("ip", &["address", "add", "192.0.2.2/24", "dev", "br0"]);
    let url = ["-e", "netboot_url=http://192.0.2.2:8080"];
    test.run(&[&["netboot", "render", "coreos.yml", "-o", "second"][..], &url].concat()).code(0);
    // It asks as s4, which the first one tells of.
    run(&test, &second, &[&SERVE[..], &["--ipxe", "ipxe", "--folder", "second"], &url].concat())
        .code(1)
        .stderr_has(&["192.0.2.1 says already what machines boot that ask on br0 (PXE)"]);
    drop(server);
    assert_eq!(serving.end("-TERM"), Some(0));
    held(
        "two servers answer the same classroom",
        "a DHCP server is there already, or another proxy says what to boot",
        2,
        "muster netboot serve refuses before it answers anybody, and names the other one",
    );
}

#[test]
fn what_would_harm_or_not_work_is_refused_before_anything_starts() {
    if !can_be_made("what muster netboot serve refuses in a network", &["dnsmasq"]) {
        return;
    }
    let mut network = Network::new();
    // A switch without anybody at it is down.
    let _s4 = network.machine("52:54:00:12:34:56");
    let test = classroom();
    let serve = [&SERVE[..], &["--ipxe", "ipxe"]].concat();
    let refused = |arguments: &[&str], code, told: &[&str]| {
        let all = [&serve[..], arguments].concat();
        drop(run(&test, &network.desk, &all).code(code).nothing_written().stderr_has(told));
    };
    let desk = &network.desk;
    for (port, what) in [(67, "DHCP"), (69, "TFTP"), (4011, "PXE")] {
        let socket = desk.inside(|| UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).unwrap());
        refused(
            &[],
            1,
            &[
                &format!("the port {port} of {what} cannot be had on br0: Address already in use"),
                &format!("ss -lunp 'sport = :{port}'"),
            ],
        );
        drop(socket);
    }
    refused(
        &["--dhcp", "192.0.2.1-192.0.2.9"],
        5,
        &["192.0.2.1 is this computer's own address", "192.0.2.0/24"],
    );
    refused(
        &["--dhcp", "192.0.3.1-192.0.3.9"],
        5,
        &["192.0.3.1 is no address for a machine of this network"],
    );
    refused(&["--dhcp", "192.0.2.9"], 5, &["two addresses were meant"]);
    refused(&["-e", "netboot_url=http://192.0.2.7"], 1, &["www is not what the inventory"]);
    desk.run("ip", &["route", "add", "default", "via", "192.0.2.254"]);
    refused(&[], 1, &["the default route goes out of br0", "--allow-default-route"]);
    refused(&SERVER, 1, &["a DHCP server there could cut others off"]);
    desk.run("ip", &["route", "del", "default"]);
    let wrong = [&SERVE[..3], &["br7"]].concat();
    run(&test, desk, &wrong).code(1).stderr_has(&["there is no network interface br7; there are: lo"]);
    let lo = [&SERVE[..3], &["lo"]].concat();
    run(&test, desk, &lo).code(1).stderr_has(&["(netboot_url), and lo has the address 127.0.0.1"]);
    desk.run("ip", &["link", "set", "br0", "down"]);
    refused(&[], 1, &["br0 is down, or has no cable", "hint: ip link set br0 up"]);
    desk.run("ip", &["link", "set", "br0", "up"]);
    // Everything else is in order, but there is no dnsmasq.
    let folder = test.folder().join("programs");
    fs::create_dir(&folder).unwrap();
    let ip = desk.run("sh", &["-c", "command -v ip"]);
    std::os::unix::fs::symlink(ip.trim(), folder.join("ip")).unwrap();
    let test = test.set("PATH", folder.display().to_string());
    let nsenter = |arguments: &[&str]| {
        let mut command = desk.command(env!("CARGO_BIN_EXE_muster"));
        command.args(arguments);
        test.execute(test.at_home(command), "")
    };
    nsenter(&serve)
        .code(1)
        .nothing_written()
        .stderr_has(&["there is no dnsmasq", "apt-get install dnsmasq-base"]);
}

#[test]
fn a_folder_that_is_not_what_was_written_is_not_served() {
    let test = muster().file("inventory/hosts.ini", INVENTORY);
    let serve = ["netboot", "serve", "--interface", "no-such-interface"];
    test.run(&serve).code(1).nothing_written().stderr_has(&[
        "nothing was rendered for this project yet",
        "hint: muster netboot render CONFIG -o DIR",
    ]);
    let render = "hint: muster netboot render coreos.yml -o www";
    let test = classroom();
    // As it is, the next thing that is looked at is the interface.
    test.run(&serve)
        .code(1)
        .nothing_written()
        .stderr_has(&["there is no network interface no-such-interface"]);
    let config = "passwd:\n  users:\n    - name: admin\n      groups: [sudo]\n";
    let test = test.file("coreos.yml", &format!("{config}    - name: other\n"));
    test.run(&serve)
        .code(1)
        .nothing_written()
        .stderr_has(&["coreos.yml was changed after www was rendered", render]);
    // One of the machines has the new one, and the other has not.
    test.run(&["netboot", "render", "coreos.yml", "-o", "www", "--limit", "s4"]).code(0);
    test.run(&serve)
        .code(1)
        .nothing_written()
        .stderr_has(&["coreos.yml was changed after www was rendered", render]);
    test.run(&["netboot", "render", "coreos.yml", "-o", "www", "--limit", "s5"]).code(0);
    test.run(&serve).code(1).stderr_has(&["there is no network interface"]);
    let test = test.file("coreos.yml", config);
    test.run(&["netboot", "render", "coreos.yml", "-o", "www"]).code(0);
    // A comment is no change.
    let test = test.file("coreos.yml", &format!("# new\n{config}"));
    test.run(&serve).code(1).stderr_has(&["there is no network interface"]);
    let test = test.file("inventory/hosts.ini", &INVENTORY.replace("12:34:57", "12:34:58"));
    test.run(&serve).code(1).nothing_written().stderr_has(&["mac/52-54-00-12-34-58.ipxe", render]);
    let test = test.file("inventory/hosts.ini", INVENTORY);
    test.run(&["netboot", "keys"]).code(0);
    test.run(&serve).code(1).stderr_has(&["2 files would be written again, such as ignition/s4.ign", render]);
    test.run(&["netboot", "render", "coreos.yml", "-o", "www"]).code(0);
    test.run(&serve).code(1).stderr_has(&["there is no network interface"]);
    let test = test.file("inventory/hosts.ini", &format!("s6 mac_address=52:54:00:12:34:60\n{INVENTORY}"));
    test.run(&serve)
        .code(1)
        .stderr_has(&["www has no script for s6; if it is to boot from here: muster netboot render"]);
    // Two folders, and one that is somebody else's.
    let test = test.file("inventory/hosts.ini", INVENTORY);
    test.run(&["netboot", "render", "coreos.yml", "-o", "other"]).code(0);
    test.run(&serve).code(5).stderr_has(&["several folders were rendered: other, www", "--folder DIR"]);
    let named = |folder| [&serve[..], &["--folder", folder]].concat();
    test.run(&named("www")).code(1).stderr_has(&["there is no network interface"]);
    test.run(&named("inventory")).code(1).stderr_has(&["inventory was not rendered for this project"]);
}

#[test]
fn machines_are_woken_by_their_cards() {
    let test = muster().file("inventory/hosts.ini", &format!("s6\n{INVENTORY}"));
    let wake = ["netboot", "wake", "s4", "--interface", "br0"];
    test.run(&["netboot", "wake", "s4", "s6", "--interface", "lo"])
        .code(4)
        .stderr_has(&["mac_address of s6 is not set", "hint: set it in the inventory"]);
    if !can_be_made("that a magic packet arrives", &[]) {
        return;
    }
    let mut network = Network::new();
    let s4 = network.machine("52:54:00:12:34:56");
    s4.run("ip", &["address", "add", "192.0.2.4/24", "dev", "eth0"]);
    let listener = s4.inside(|| UdpSocket::bind("0.0.0.0:9").unwrap());
    listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    run(&test, &network.desk, &wake)
        .code(0)
        .stderr_has(&["s4: 52:54:00:12:34:56", "1 machine was told on br0"]);
    let mut packet = [0; 200];
    assert_eq!(listener.recv(&mut packet).unwrap(), 102);
    assert_eq!(packet[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
}
