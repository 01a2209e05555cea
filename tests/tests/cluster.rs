//! The cluster of the tests is what they take it for: a node that behaves as any other, and a world around it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use actpass_tests::authority::Authority;
use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::front::Front;
use actpass_tests::home::text;

/// A pod of one container that does nothing by itself; `spec` goes into the pod, `container` into the container.
fn pod(name: &str, image: &str, spec: &str, container: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, \
         spec: {{terminationGracePeriodSeconds: 0, {spec} containers: [{{name: main, \
         image: 'actpass.test/{image}:test', imagePullPolicy: Never, {container}}}]}}}}"
    )
}

/// The cluster, where there can be one.
fn shared() -> Option<Cluster> {
    possible().then(|| Cluster::up().unwrap())
}

/// A namespace with one pod, `agent`, with a shell and curl.
fn with_agent<'a>(cluster: &'a Cluster, prefix: &str) -> Namespace<'a> {
    let namespace = cluster.namespace(prefix).unwrap();
    namespace
        .start("agent", &pod("agent", "agent-curl", "", ""))
        .unwrap();
    namespace
}

/// What a script in `agent` says, which must succeed.
fn says(namespace: &Namespace<'_>, script: &str) -> String {
    let output = namespace.exec("agent", script).unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output));
    text(&output).trim().to_owned()
}

#[test]
fn a_pod_runs_as_its_user_and_gives_its_log_and_a_shell() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("logs").unwrap();
    let command = "command: [sh, -c, 'echo begun as $(id -u); sleep inf']";
    namespace
        .start("agent", &pod("agent", "agent-curl", "", command))
        .unwrap();
    assert_eq!(
        namespace.ask(&["logs", "agent"]).unwrap(),
        "begun as 1000\n"
    );
    assert_eq!(says(&namespace, "echo $((6 * 7))"), "42");
    let failed = namespace.exec("agent", "exit 7").unwrap();
    assert_eq!(failed.status.code(), Some(7));
    // `RuntimeDefault` is what a pod gets that asks for nothing.
    assert_eq!(
        says(&namespace, "grep Seccomp: /proc/self/status"),
        "Seccomp:\t2"
    );
}

#[test]
fn every_agent_image_has_its_sdk() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("sdks").unwrap();
    let python = "import stripe, requests, ssl; print(stripe.VERSION, requests.__version__)";
    let node = "console.log(typeof new (require('stripe'))('sk_test_x').refunds.create)";
    let cases = [
        ("agent-python", ["python3", "-c", python], "16.1.0 2.34.2\n"),
        ("agent-node", ["node", "-e", node], "function\n"),
        ("agent-curl", ["curl", "--silent", "--version"], "curl 7"),
    ];
    for (image, command, want) in cases {
        namespace.start(image, &pod(image, image, "", "")).unwrap();
        let said = namespace
            .ask(&[&["exec", image, "--"], &command[..]].concat())
            .unwrap();
        assert!(said.starts_with(want), "{image}: {said}");
    }
}

#[test]
fn a_pod_resolves_and_reaches_a_tls_server_of_the_world() {
    let Some(cluster) = shared() else { return };
    let namespace = with_agent(&cluster, "world");
    let host = format!("{}.example", namespace.name);
    let authority = Authority::new().unwrap();
    let listener = cluster.serve(&host, 443).unwrap();
    let front = Front::on(listener, &authority, &host, answers("from the world")).unwrap();
    let ca = format!("echo '{}' > /tmp/ca.pem", authority.pem);
    says(&namespace, &ca);
    let curl = format!("curl -sS --cacert /tmp/ca.pem https://{host}/hello");
    assert_eq!(says(&namespace, &curl), "from the world");
    assert_eq!(front.seen()[0].first_line, "GET /hello HTTP/1.1");
    // The same server without our authority: TLS is real.
    let refused = namespace
        .exec("agent", &format!("curl -sS https://{host}/"))
        .unwrap();
    assert_eq!(refused.status.code(), Some(60), "{}", text(&refused));
    let unknown = namespace
        .exec("agent", "curl -sS https://nobody.example/")
        .unwrap();
    assert_eq!(unknown.status.code(), Some(6), "{}", text(&unknown));
}

#[test]
fn what_a_pod_sends_out_is_seen_in_the_world_with_the_address_of_the_pod() {
    let Some(cluster) = shared() else { return };
    let namespace = with_agent(&cluster, "frames");
    let address = "-o=jsonpath={.status.podIP}";
    let own: Ipv4Addr = namespace
        .ask(&["get", "pod", "agent", address])
        .unwrap()
        .parse()
        .unwrap();
    let sniffer = cluster.sniffer().unwrap();
    let nowhere = Ipv4Addr::new(203, 0, 113, 7);
    let curl = format!("curl -sS -m 1 http://{nowhere}/");
    // Nobody answers: 28 is curl's timeout.
    let output = namespace.exec("agent", &curl).unwrap();
    assert_eq!(output.status.code(), Some(28), "{}", text(&output));
    let frames = sniffer.seen().unwrap();
    let mut packets = frames.iter().filter_map(|it| it.packet);
    let packet = packets.find(|it| it.to == nowhere).unwrap();
    assert_eq!(packet.from, own);
    // TCP.
    assert_eq!((packet.protocol, packet.ports.1), (6, 80));
}

#[test]
fn a_service_answers_at_its_name_and_cluster_address_though_a_policy_forbids_it() {
    let Some(cluster) = shared() else { return };
    let namespace = with_agent(&cluster, "service");
    let serve = "command: [sh, -c, 'echo served > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']";
    namespace
        .start("server", &pod("server", "agent-curl", "", serve))
        .unwrap();
    namespace
        .apply(
            "{apiVersion: v1, kind: Service, metadata: {name: server}, \
             spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}}",
        )
        .unwrap();
    let curl = format!(
        "curl -sS -m 2 http://server.{}.svc.cluster.local/",
        namespace.name
    );
    let fetch = || {
        let output = namespace.exec("agent", &curl)?;
        anyhow::ensure!(output.status.success(), "{}", text(&output));
        Ok(text(&output))
    };
    assert_eq!(
        eventually(Duration::from_secs(20), fetch).unwrap(),
        "served\n"
    );
    let ip = namespace.ask(&["get", "service", "server", "-o=jsonpath={.spec.clusterIP}"]);
    let ip = ip.unwrap();
    assert!(ip.starts_with("10.96."), "{ip}");
    assert_eq!(
        says(&namespace, &format!("curl -sS http://{ip}/")),
        "served"
    );

    // The node enforces no NetworkPolicy: what depends on one is tested by what the policy says, not by this node.
    namespace
        .apply(
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed}, \
             spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}",
        )
        .unwrap();
    assert_eq!(
        says(&namespace, &format!("curl -sS http://{ip}/")),
        "served"
    );
}

#[test]
fn an_init_container_with_net_admin_fences_the_pod_and_a_native_sidecar_starts_before_the_agent() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("fence").unwrap();
    let host = format!("{}.example", namespace.name);
    let server = cluster.serve(&host, 80).unwrap();
    answer(server, "outside");
    let rules = "add table inet fence; \
        add chain inet fence out { type filter hook output priority 0; policy accept; }; \
        add rule inet fence out meta skuid 1000 ip daddr 198.51.100.0/24 reject";
    let image = "image: 'actpass.test/agent-curl:test', imagePullPolicy: Never";
    let init = format!(
        "initContainers: [{{name: fence, {image}, command: [sh, -c, \"echo '{rules}' | nft -f -\"], \
         securityContext: {{runAsUser: 0, capabilities: {{drop: [ALL], add: [NET_ADMIN]}}}}}}, \
         {{name: proxy, {image}, restartPolicy: Always, securityContext: {{runAsUser: 2000}}, \
         command: [sh, -c, 'echo up > /shared/proxy; sleep inf'], \
         startupProbe: {{exec: {{command: [cat, /shared/proxy]}}, periodSeconds: 1}}, \
         volumeMounts: [{{name: shared, mountPath: /shared}}]}}], \
         volumes: [{{name: shared, emptyDir: {{}}}}],"
    );
    let main = "command: [sh, -c, 'cat /shared/proxy; sleep inf'], \
                volumeMounts: [{name: shared, mountPath: /shared}]";
    namespace
        .start("agent", &pod("agent", "agent-curl", &init, main))
        .unwrap();
    assert_eq!(
        namespace.ask(&["logs", "agent", "-c", "main"]).unwrap(),
        "up\n"
    );
    let curl = format!("curl -sS -m 5 http://{host}/");
    let from = |container| {
        let args = ["exec", "agent", "-c", container, "--", "sh", "-c", &curl];
        text(&namespace.kubectl(&args).unwrap())
    };
    // The rule is about the agent's user, in this pod alone.
    assert_eq!(from("proxy"), "outside");
    let agent = from("main");
    assert!(agent.contains("Failed to connect"), "{agent}");
}

#[test]
fn helm_installs_a_chart() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("helm").unwrap();
    let chart = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(chart.path().join(name), text).unwrap();
    std::fs::create_dir(chart.path().join("templates")).unwrap();
    file(
        "Chart.yaml",
        "{apiVersion: v2, name: small, version: 1.0.0}",
    );
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: installed}, data: {by: '{{ .Release.Name }}'}}";
    file("templates/map.yaml", map);
    let path = chart.path().to_str().unwrap();
    let output = cluster.helm(&["install", "first", path, "--namespace", &namespace.name]);
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let by = namespace.ask(&["get", "configmap", "installed", "-o=jsonpath={.data.by}"]);
    assert_eq!(by.unwrap(), "first");
}

#[test]
fn a_part_that_is_killed_is_started_again_and_pods_outlive_it() {
    if !possible() {
        return;
    }
    // One of its own: others would notice.
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::up_in(dir.path()).unwrap();
    let namespace = with_agent(&cluster, "parts");
    for part in ["kubelet", "kube-apiserver", "containerd"] {
        for verb in ["kill", "start"] {
            let output = cluster
                .node("/run/actpass/part")
                .args([verb, part])
                .output();
            let output = output.unwrap();
            assert!(output.status.success(), "{verb} {part}: {}", text(&output));
        }
        let fresh = || {
            let output = namespace.exec("agent", "echo here")?;
            anyhow::ensure!(output.status.success(), "{}", text(&output));
            namespace.ask(&[
                "get",
                "pod",
                "agent",
                "-o=jsonpath={.status.containerStatuses[0].restartCount}",
            ])
        };
        assert_eq!(
            eventually(Duration::from_secs(60), fresh).unwrap(),
            "0",
            "{part}"
        );
    }
    drop(namespace);
    cluster.down().unwrap();
}

/// Gives every request on the machine's loopback this answer. The port to ask at.
fn answers(body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    answer(listener, body);
    port
}

/// Gives every request at a listener this answer.
fn answer(listener: TcpListener, body: &'static str) {
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = socket.read(&mut request).unwrap_or(0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len());
            if length > 0 {
                write!(socket, "{head}\r\nconnection: close\r\n\r\n{body}").ok();
            }
        }
    });
}
