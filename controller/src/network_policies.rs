//! The NetworkPolicy of a governed namespace: the lock outside of the pods, where they cannot reach.
//!
//! It knows no containers, so it bounds what the fence in each pod decides: out go names, the control plane, and the ports
//! that Upstreams of the namespace declare. Addresses of the cluster and of networks around it are only reached where an
//! Upstream says `addresses: Cluster`. Under audit nothing is to break that ran before, so everything is reached but what is
//! never an upstream: link-local addresses, with the metadata servers of clouds.

use std::collections::BTreeSet;

use actpass_core::pod::contract::{
    ENFORCED_LABEL, ENFORCED_VALUE, HEALTH_PORT, METRICS_PORT, OWN_PORTS, POD_LABEL,
};
use actpass_crds::resource::Resource;
use actpass_crds::upstream::Addresses;
use actpass_kubernetes::names::{AGENTS_NETWORK_POLICY, QUARANTINE_NETWORK_POLICY};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::bundle::Place;
use crate::object::Object;

/// What an installation allows besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Networks that are not public: those of the cluster, and private ones around it.
    pub private: Vec<String>,
    /// Namespace of the cluster's name servers.
    pub dns_namespace: String,
    /// Port of controller and ledger in their pods.
    pub control_port: u16,
    /// Namespace whose Prometheus reads the sidecars' metrics.
    pub metrics_namespace: Option<String>,
    /// Whether pods that found a way out beside their sidecar are cut off.
    pub quarantine: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            private: PRIVATE.map(str::to_owned).to_vec(),
            dns_namespace: "kube-system".to_owned(),
            control_port: 8443,
            metrics_namespace: None,
            quarantine: false,
        }
    }
}

/// Addresses that are not public unicast: RFC 1918, RFC 6598, loopback, link-local with the metadata servers of clouds,
/// RFC 2544, multicast and reserved; RFC 4193, and what embeds IPv4.
const PRIVATE: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b::/96",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// The policy of a namespace, by the Upstreams that count in it.
///
/// In a namespace that enforces it holds every pod, so that no label frees one; where it audits, only injected ones, since
/// others run there still. Those that are `cut_off`, by their [`POD_LABEL`], are left to [`quarantine`]: policies add up.
pub fn agents<'a>(
    place: Place<'_>,
    objects: impl IntoIterator<Item = &'a Object>,
    cut_off: &BTreeSet<String>,
    settings: &NetworkSettings,
) -> NetworkPolicy {
    let (mut public, mut cluster) = (BTreeSet::new(), BTreeSet::new());
    for object in objects.into_iter().filter(|object| place.has(object)) {
        if let Ok(Resource::Upstream(_, spec)) = &object.resource {
            match spec.addresses {
                Addresses::Public => public.extend(&spec.ports),
                Addresses::Cluster => cluster.extend(&spec.ports),
            }
        }
    }
    // A name that may resolve to private addresses may resolve to public ones too.
    public.extend(&cluster);
    let mut selected = match place.namespace.enforces() {
        true => LabelSelector::default(),
        false => labelled(ENFORCED_LABEL, ENFORCED_VALUE),
    };
    if !cut_off.is_empty() {
        selected.match_expressions = Some(vec![known_by("NotIn", cut_off)]);
    }
    let egress = match place.namespace.audits() {
        true => audited(),
        false => egress(place.install, &public, &cluster, settings),
    };
    let name = AGENTS_NETWORK_POLICY;
    policy(place, name, selected, ingress(settings), egress)
}

/// The policy of the pods that are cut off, by their [`POD_LABEL`]: Prometheus alone reaches them, so that their alert goes on, and
/// they reach what keeps the record, on connections that are there. Names lead out too, so there are none.
pub fn quarantine(
    place: Place<'_>,
    cut_off: &BTreeSet<String>,
    settings: &NetworkSettings,
) -> NetworkPolicy {
    let selected = LabelSelector {
        match_expressions: Some(vec![known_by("In", cut_off)]),
        ..LabelSelector::default()
    };
    let egress = vec![to_installation(place.install, settings)];
    let name = QUARANTINE_NETWORK_POLICY;
    let ingress = prometheus(settings).into_iter().collect();
    policy(place, name, selected, ingress, egress)
}

/// The pods that a policy of [`quarantine`] holds.
pub fn quarantined(policy: &NetworkPolicy) -> BTreeSet<String> {
    let spec = policy.spec.as_ref();
    let selector = spec.and_then(|spec| spec.pod_selector.as_ref());
    let expressions = selector.and_then(|it| it.match_expressions.as_ref());
    let expressions = expressions.into_iter().flatten();
    let of_pods = expressions.filter(|it| it.key == POD_LABEL);
    of_pods
        .flat_map(|it| it.values.clone().unwrap_or_default())
        .collect()
}

fn known_by(operator: &str, pods: &BTreeSet<String>) -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: POD_LABEL.to_owned(),
        operator: operator.to_owned(),
        values: Some(pods.iter().cloned().collect()),
    }
}

fn policy(
    place: Place<'_>,
    name: &str,
    selected: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(place.namespace.name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selected),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    }
}

/// The agents' own ports are declared in each pod and held to by its fence; here those of the sidecar are kept apart, but for
/// the one that the kubelet's probes ask.
fn ingress(settings: &NetworkSettings) -> Vec<NetworkPolicyIngressRule> {
    let (mut open, mut first) = (Vec::new(), 1);
    for closed in OWN_PORTS.into_iter().filter(|it| *it != HEALTH_PORT) {
        if first < closed {
            open.push(ports(first, closed - 1));
        }
        first = closed + 1;
    }
    open.push(ports(first, u16::MAX));
    let anyone = NetworkPolicyIngressRule {
        from: None,
        ports: Some(open),
    };
    [anyone].into_iter().chain(prometheus(settings)).collect()
}

/// Who reads the sidecars' metrics, where somebody does.
fn prometheus(settings: &NetworkSettings) -> Option<NetworkPolicyIngressRule> {
    let namespace = settings.metrics_namespace.as_ref()?;
    Some(NetworkPolicyIngressRule {
        from: Some(vec![of_namespace(namespace)]),
        ports: Some(vec![port("TCP", METRICS_PORT)]),
    })
}

fn egress(
    install: &str,
    public: &BTreeSet<u16>,
    cluster: &BTreeSet<u16>,
    settings: &NetworkSettings,
) -> Vec<NetworkPolicyEgressRule> {
    let tcp = |numbers: &BTreeSet<u16>| numbers.iter().map(|it| port("TCP", *it)).collect();
    let names = vec![port("UDP", 53), port("TCP", 53)];
    let mut rules = vec![
        rule(vec![of_namespace(&settings.dns_namespace)], names),
        to_installation(install, settings),
    ];
    // A rule without ports would allow all of them.
    if !public.is_empty() {
        let world = ["0.0.0.0/0", "::/0"].map(|all| block(all, &settings.private));
        rules.push(rule(world.to_vec(), tcp(public)));
    }
    if !cluster.is_empty() {
        let private = settings.private.iter().filter(|it| !is_never(it));
        let private = private.map(|network| block(network, &[])).collect();
        rules.push(rule(private, tcp(cluster)));
    }
    rules
}

/// The controller and the ledger.
fn to_installation(install: &str, settings: &NetworkSettings) -> NetworkPolicyEgressRule {
    let ports = vec![port("TCP", settings.control_port)];
    rule(vec![of_namespace(install)], ports)
}

fn rule(to: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(to),
        ports: Some(ports),
    }
}

fn of_namespace(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labelled(NAMESPACE_NAME, name)),
        ..NetworkPolicyPeer::default()
    }
}

/// What an audit passes on. Some network plugins take no pod for an address of a block, hence the first.
fn audited() -> Vec<NetworkPolicyEgressRule> {
    let pods = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let metadata = METADATA.map(str::to_owned);
    let world = ["0.0.0.0/0", "::/0"].map(|all| block(all, &metadata));
    let to = [pods].into_iter().chain(world).collect();
    vec![NetworkPolicyEgressRule {
        to: Some(to),
        ports: None,
    }]
}

/// Link-local addresses, and those of their own that the metadata services of some large clouds have.
const METADATA: [&str; 5] = [
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fe80::/10",
    "fd00:ec2::254/128",
];

/// Networks no Upstream is in, whatever it says: loopback, link-local with the metadata servers of clouds, multicast.
fn is_never(network: &str) -> bool {
    let never = [
        "0.", "127.", "169.254.", "224.", "240.", "::", "fe80:", "ff00:",
    ];
    never.iter().any(|prefix| network.starts_with(prefix))
}

/// A network but for those of its family within it.
fn block(network: &str, except: &[String]) -> NetworkPolicyPeer {
    let family = |text: &str| text.contains(':');
    let mut within: Vec<String> = except.to_vec();
    within.retain(|it| family(it) == family(network));
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: network.to_owned(),
            except: Some(within).filter(|it| !it.is_empty()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        ..LabelSelector::default()
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}

fn ports(first: u16, last: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        end_port: Some(last.into()),
        ..port("TCP", first)
    }
}

/// Label that every namespace has, with its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::object::Namespace;
    use crate::object::tests::object;

    const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: NAME}
spec:
  hosts: [NAME.example]
  ports: [PORT]
  addresses: ADDRESSES
  allowedNamespaces: {from: All}
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
"#;

    fn upstream(name: &str, port: &str, addresses: &str) -> Object {
        let yaml = UPSTREAM
            .replace("NAME", name)
            .replace("PORT", port)
            .replace("ADDRESSES", addresses);
        object("actpass-system", &yaml)
    }

    fn policy(mode: &str, objects: &[Object], settings: &NetworkSettings) -> Value {
        let namespace = Namespace {
            name: "shop".to_owned(),
            uid: "n-1".to_owned(),
            labels: [("actpass.org/mode".to_owned(), mode.to_owned())].into(),
            ends: false,
        };
        let place = Place {
            cluster: "c-1",
            install: "actpass-system",
            namespace: &namespace,
        };
        serde_json::to_value(agents(place, objects, &BTreeSet::new(), settings)).unwrap()
    }

    #[test]
    fn a_namespace_without_upstreams_reaches_names_and_the_control_plane_only() {
        let found = policy("enforce", &[], &NetworkSettings::default());
        assert_eq!(
            found["spec"]["egress"],
            json!([
                {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                 "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "actpass-system"}}}],
                 "ports": [{"protocol": "TCP", "port": 8443}]},
            ])
        );
        assert_eq!(found["spec"]["podSelector"], json!({}));
        let audit = policy("audit", &[], &NetworkSettings::default());
        assert_eq!(
            audit["spec"]["podSelector"],
            json!({"matchLabels": {"actpass.org/enforced": "v1"}})
        );
    }

    #[test]
    fn an_audit_reaches_all_but_metadata_whatever_is_declared() {
        let found = policy(
            "audit",
            &[upstream("a", "443", "Public")],
            &NetworkSettings::default(),
        );
        assert_eq!(
            found["spec"]["egress"],
            json!([{"to": [
                {"namespaceSelector": {}},
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"]}},
                {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::254/128"]}},
            ]}])
        );
    }

    #[test]
    fn declared_ports_are_open_to_where_upstreams_are() {
        let objects = [
            upstream("a", "443", "Public"),
            upstream("b", "8080", "Cluster"),
        ];
        let found = policy("enforce", &objects, &NetworkSettings::default());
        let egress = found["spec"]["egress"].as_array().unwrap();
        let ports = |rule: &Value| -> Vec<u64> {
            let ports = rule["ports"].as_array().unwrap();
            ports
                .iter()
                .map(|it| it["port"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(
            (ports(&egress[2]), ports(&egress[3])),
            (vec![443, 8080], vec![8080])
        );
        let world = egress[2]["to"][0]["ipBlock"].clone();
        assert_eq!(world["cidr"], "0.0.0.0/0");
        let except = world["except"].as_array().unwrap();
        assert!(except.contains(&json!("169.254.0.0/16")) && !except.contains(&json!("fc00::/7")));
        let cluster = egress[3]["to"].to_string();
        for (network, want) in [
            ("10.0.0.0/8", true),
            ("169.254.", false),
            ("127.", false),
            ("fc00", true),
        ] {
            assert_eq!(cluster.contains(network), want, "{network}");
        }
    }

    #[test]
    fn metrics_are_read_from_the_namespace_named_and_no_other() {
        let none = policy("enforce", &[], &NetworkSettings::default());
        assert_eq!(none["spec"]["ingress"].as_array().unwrap().len(), 1);
        assert!(!none["spec"]["ingress"].to_string().contains("15090"));
        let settings = NetworkSettings {
            metrics_namespace: Some("monitoring".to_owned()),
            ..NetworkSettings::default()
        };
        let found = policy("enforce", &[], &settings);
        assert_eq!(
            found["spec"]["ingress"][1],
            json!({"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "ports": [{"protocol": "TCP", "port": 15090}]})
        );
    }
}
