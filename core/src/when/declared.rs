//! What a condition may refer to: the attributes, amount and resource that the actions its rule covers declare.

use std::collections::BTreeMap;

use crate::capability::CapabilityPattern;
use crate::upstream::{ActionSpec, AttributeType, Upstream};

/// What the actions covered by a rule declare, taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    covered: usize,
    attributes: BTreeMap<String, Attribute>,
    amounts: usize,
    resources: usize,
}

/// One attribute over all covered actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attribute {
    /// Its type; absent where the actions disagree.
    kind: Option<AttributeType>,
    /// How many of the actions have it in every request, being required or having a default.
    always: usize,
}

impl Declared {
    /// What these actions declare.
    pub fn by<'a>(actions: impl IntoIterator<Item = &'a ActionSpec>) -> Self {
        let mut declared = Self::default();
        for action in actions {
            declared.covered += 1;
            declared.amounts += usize::from(action.amount.is_some());
            declared.resources += usize::from(action.resource.is_some());
            for spec in &action.attributes {
                let first = Attribute {
                    kind: Some(spec.kind),
                    always: 0,
                };
                let attribute = declared
                    .attributes
                    .entry(spec.name.clone())
                    .or_insert(first);
                attribute.kind = attribute.kind.filter(|kind| *kind == spec.kind);
                attribute.always += usize::from(spec.required || spec.default.is_some());
            }
        }
        declared
    }

    /// What the actions matched by a rule's capabilities declare.
    pub fn for_rule(capabilities: &[CapabilityPattern], upstreams: &[Upstream]) -> Self {
        let actions = upstreams.iter().flat_map(|upstream| &upstream.actions);
        Self::by(actions.filter(|action| {
            capabilities
                .iter()
                .any(|pattern| pattern.matches(&action.capability))
        }))
    }

    /// Whether there is no action to ask about.
    pub fn covers_nothing(&self) -> bool {
        self.covered == 0
    }

    /// The attribute's type, where all agree on one, and whether it is always there; none where nobody declares it.
    pub(super) fn attribute(&self, name: &str) -> Option<(Option<AttributeType>, bool)> {
        let attribute = self.attributes.get(name)?;
        Some((attribute.kind, attribute.always == self.covered))
    }

    /// Whether every covered action has an amount.
    pub(super) fn amount_always(&self) -> bool {
        self.amounts == self.covered
    }

    /// Whether every covered action has a resource.
    pub(super) fn resource_always(&self) -> bool {
        self.resources == self.covered
    }
}
