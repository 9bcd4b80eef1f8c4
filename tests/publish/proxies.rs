//! Registries behind proxies: a name that only the proxy knows, plain and tunnelled, for publishing and for base images.

use std::fs;

use pixi_oci_test_registry::checker;

use super::*;
use crate::common::{channel_server::Proxy, front::tls_front, tls::Identity};

#[test]
fn a_registry_behind_a_proxy() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let proxy = Proxy::new(&format!("http://{}", registry.address));
    let with_login = proxy.address.replace("://", "://me:canary-proxy@");
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--publish"], arguments].concat());
        Outcome::of(command.env("VERSION", "1.0.0").envs(variables.iter().copied()))
    };
    let plain = ["--to", "docker://registry.example/app", "--insecure-http", "registry.example"];
    let outcome = run(&plain, &[("http_proxy", &with_login)]).success();
    assert!(outcome.stdout.starts_with("registry.example/app@"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
    assert_eq!(checker::check(&registry.address).sound().tags["app:1.0.0"], outcome.digest());
    let requests = proxy.requests();
    assert!(requests.iter().all(|request| request.target.starts_with("http://registry.example/v2/")), "{requests:#?}");
    // me:canary-proxy
    assert!(requests.iter().all(|request| request.headers["proxy-authorization"] == "Basic bWU6Y2FuYXJ5LXByb3h5"));

    // Not for TLS, not in capitals where a web server may have set it (CVE-2016-5385), and not for what NO_PROXY names:
    // nobody knows the name then.
    for variables in [
        &[("https_proxy", proxy.address.as_str())][..],
        &[("HTTP_PROXY", &proxy.address), ("REQUEST_METHOD", "GET")],
        &[("http_proxy", &proxy.address), ("NO_PROXY", "other.example,.example")],
        &[("http_proxy", &proxy.address), ("no_proxy", "*")],
    ] {
        run(&plain, variables).refused(1, &["BLOCKER(registry-down)", "registry.example"]);
    }
    assert_eq!(proxy.requests().len(), requests.len());
    // A proxy that is not there is no reason to go around it; and this machine needs none.
    let dead = [("http_proxy", "http://127.0.0.1:1"), ("https_proxy", "http://127.0.0.1:1")];
    run(&plain, &dead).refused(1, &["BLOCKER(registry-down)"]);
    run(&["--to", &registry.reference("direct")], &dead).success();
}

#[test]
fn a_registry_through_a_tunnel() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let identity = Identity::new(&["registry.example"]);
    fs::write(sandbox.path("root.pem"), &identity.root).unwrap();
    let proxy = Proxy::new(&format!("http://{}", tls_front(&identity, &registry.address)));
    let with_login = proxy.address.replace("://", "://me:canary-proxy@");
    let arguments = ["publish", "ws", "--publish", "--to", "docker://registry.example/app", "--ca-file", "root.pem"];
    let mut command = sandbox.pixi_oci(&arguments);
    command.env("HTTPS_PROXY", &with_login).env("REGISTRY_TOKEN", "canary-token").env("VERSION", "1.0.0");
    let outcome = Outcome::of(&mut command).success();
    assert_eq!(checker::check(&registry.address).sound().tags["app:latest"], outcome.digest());
    // The proxy sees whom we talk to, and nothing else.
    for request in proxy.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "registry.example:443"));
        assert_eq!(request.headers["proxy-authorization"], "Basic bWU6Y2FuYXJ5LXByb3h5");
        assert!(!format!("{request:?}").contains("token"), "{request:?}");
    }

    // Base images come the same way.
    let base = format!("docker://registry.example/app@{}", outcome.digest());
    let build = |arguments: &[&str]| {
        let mut command = sandbox.pixi_oci(
            &[&["build", "ws", "-o", "oci:out", "--set", "prefix=/opt/more", "--base", &base], arguments].concat(),
        );
        Outcome::of(command.env("HTTPS_PROXY", &with_login))
    };
    build(&[]).refused(1, &["registry.example", "certificate"]);
    build(&["--ca-file", "root.pem"]).success();
}
