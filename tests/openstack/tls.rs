//! A cloud behind TLS: whose certificate is good.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::fixture::{Ended, Test};

/// An authority as PEM, and what a server has whose certificate it has signed for this name.
fn certified(name: &str) -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    (pem, Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn a_certificate_is_verified_by_the_given_authorities_unless_nobody_wants_it() {
    let Some(test) = Test::begin() else { return };
    // A creation that ends when the services of all addresses in the catalogue were asked.
    test.declare("image: debian-12", "image: debian-13");
    let (authority, config) = certified("127.0.0.1");
    let (_, of_other_name) = certified("cloud.example");
    let (port, other) =
        (test.services().proxy.with_tls(config), test.services().proxy.with_tls(of_other_name));
    test.write("ca.pem", &authority);
    test.write("empty.pem", "");
    let run = |port: u16, variables: &[(&str, &str)]| -> Ended {
        let url = format!("https://127.0.0.1:{port}");
        let mut all = vec![("OS_AUTH_URL", url.as_str())];
        all.extend(variables);
        test.run_with(&["machines", "create", "shop"], None, &all)
    };
    let is_in = |ended: Ended| {
        ended.code(4).says("did you mean \"debian-12\"?");
        assert!(test.services().proxy.log().iter().any(|request| request.starts_with("GET /4/")));
    };
    is_in(run(port, &[("OS_CACERT", "ca.pem")]));
    is_in(run(port, &[("OS_INSECURE", "true")]));
    run(port, &[]).code(1).says("cannot be reached").says("certificate");
    run(other, &[("OS_CACERT", "ca.pem")]).code(1).says("cannot be reached").says("certificate");
    run(port, &[("OS_CACERT", "empty.pem")]).code(1).says("empty.pem").says("holds no certificate");
    run(port, &[("OS_CACERT", "no.pem")]).code(1).says("no.pem cannot be read");
    assert_eq!(test.services().proxy.log(), [""; 0]);

    // The same in a file.
    let cloud = |more: &str| {
        let login = "username: demo, password: demo, project_name: demo";
        let auth = format!("auth: {{auth_url: 'https://127.0.0.1:{port}', {login}}}");
        test.write("clouds.yaml", &format!("clouds: {{here: {{{auth}, {more}}}}}\n"));
    };
    test.declare("version: 1\n", "version: 1\ncloud: here\n");
    cloud("cacert: ca.pem");
    is_in(run(port, &[]));
    cloud("verify: false");
    is_in(run(port, &[]));
    cloud("verify: true");
    run(port, &[]).code(1).says("certificate");
    assert_eq!(test.left(), [""; 0]);
}
