//! The checker: types, bounds, and what may be absent; in one pass it also replaces every name by its slot.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, operators};

use super::declared::Declared;
use super::evaluate::slot_name;
use super::slot::{Slot, Subject};
use super::{CheckedTypes, DEPTH_MAX, ELEMENTS_MAX, STEPS_MAX, WhenError};
use crate::canonical::excerpt;
use crate::policy::RuleDecision;

pub(super) fn check(
    expr: &IdedExpr,
    decision: RuleDecision,
    declared: &Declared,
) -> Result<(IdedExpr, Vec<Slot>, CheckedTypes), WhenError> {
    let (slots, types) = (Vec::new(), CheckedTypes::default());
    let mut checker = Checker {
        decision,
        declared,
        slots,
        types,
        variable: None,
        steps: 0,
        per_node: 1,
    };
    let whole = checker.expr(expr, &Guards::new(), DEPTH_MAX)?;
    match whole.kind {
        Kind::One(Scalar::Bool) => Ok((whole.expr, checker.slots, checker.types)),
        other => Err(WhenError::NotBool(other.name())),
    }
}

/// Type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int,
    Text,
}

/// Type of an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One(Scalar),
    /// With the most elements it can have.
    List(Scalar, usize),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::One(Scalar::Bool) => "bool",
            Self::One(Scalar::Int) => "int",
            Self::One(Scalar::Text) => "string",
            Self::List(Scalar::Bool, _) => "list of bool",
            Self::List(Scalar::Int, _) => "list of int",
            Self::List(Scalar::Text, _) => "list of string",
        }
    }
}

/// What is known to be there.
type Guards = BTreeSet<Subject>;

/// An expression that checked: rebuilt with slots, and what its truth or falsehood proves to be there.
struct Typed {
    kind: Kind,
    expr: IdedExpr,
    if_true: Guards,
    if_false: Guards,
}

struct Checker<'a> {
    decision: RuleDecision,
    declared: &'a Declared,
    slots: Vec<Slot>,
    types: CheckedTypes,
    /// The variable of the one comprehension one may be in.
    variable: Option<(&'a str, Scalar)>,
    steps: usize,
    /// How often a node is evaluated at most.
    per_node: usize,
}

impl<'a> Checker<'a> {
    fn expr(
        &mut self,
        expr: &'a IdedExpr,
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let depth = depth.checked_sub(1).ok_or(WhenError::TooDeep)?;
        self.steps += self.per_node;
        if self.steps > STEPS_MAX {
            return Err(WhenError::TooCostly);
        }
        match &expr.expr {
            Expr::Literal(literal) => typed(expr, literal_kind(literal)?, expr.expr.clone()),
            Expr::Ident(name) => match self.variable {
                Some((variable, kind)) if variable == name => {
                    typed(expr, Kind::One(kind), expr.expr.clone())
                }
                _ => Err(WhenError::Unknown(excerpt(name))),
            },
            Expr::Select(select) if select.test => {
                let mut path = dotted(&select.operand)
                    .ok_or_else(|| WhenError::Unknown(excerpt(&select.field)))?;
                path.push(&select.field);
                self.has(expr, &path)
            }
            Expr::Select(select) => {
                let path =
                    dotted(expr).ok_or_else(|| WhenError::Unknown(excerpt(&select.field)))?;
                let slot = Slot::of(&path, self.declared)?;
                self.slot(expr, slot, guards)
            }
            Expr::Call(call) => self.call(expr, call, guards, depth),
            Expr::List(list) => self.list(expr, list, guards, depth),
            Expr::Comprehension(comprehension) => {
                self.comprehension(expr, comprehension, guards, depth)
            }
            Expr::Map(_) => Err(WhenError::Foreign("a map".to_owned())),
            Expr::Struct(_) => Err(WhenError::Foreign("a message".to_owned())),
            Expr::Unspecified => Err(WhenError::Engine),
        }
    }

    fn has(&mut self, expr: &IdedExpr, path: &[&str]) -> Result<Typed, WhenError> {
        let subject = Subject::of(path, self.declared)?;
        let mut held = self.slot(expr, Slot::Has(subject.clone()), &Guards::new())?;
        held.if_true.insert(subject);
        Ok(held)
    }

    fn slot(&mut self, expr: &IdedExpr, slot: Slot, guards: &Guards) -> Result<Typed, WhenError> {
        slot.note(self.decision, &mut self.types)?;
        if slot
            .needs(self.declared)
            .is_some_and(|subject| !guards.contains(&subject))
        {
            return Err(WhenError::Unguarded(match slot {
                Slot::AmountMinor | Slot::AmountCurrency => Subject::Amount.to_string(),
                slot => slot.to_string(),
            }));
        }
        let kind = Kind::One(slot.kind());
        let index = self
            .slots
            .iter()
            .position(|known| *known == slot)
            .unwrap_or_else(|| {
                self.slots.push(slot);
                self.slots.len() - 1
            });
        typed(expr, kind, Expr::Ident(slot_name(index)))
    }

    fn call(
        &mut self,
        expr: &'a IdedExpr,
        call: &'a CallExpr,
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let name = call.func_name.as_str();
        match (name, &call.target, call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, None, [left, right]) => {
                self.logic(expr, call, (left, right), guards, depth)
            }
            (operators::LOGICAL_NOT, None, [inner]) => {
                let inner = self.want(inner, guards, depth, "!", Scalar::Bool)?;
                let (if_true, if_false) = (inner.if_false.clone(), inner.if_true.clone());
                let rebuilt = rebuild(expr, call, None, vec![inner.expr], Kind::One(Scalar::Bool))?;
                Ok(Typed {
                    if_true,
                    if_false,
                    ..rebuilt
                })
            }
            (operators::NEGATE, None, [inner]) => {
                let inner = self.want(inner, guards, depth, "-", Scalar::Int)?;
                rebuild(expr, call, None, vec![inner.expr], Kind::One(Scalar::Int))
            }
            (operators::CONDITIONAL, None, [question, yes, no]) => {
                let question = self.want(question, guards, depth, "?", Scalar::Bool)?;
                let yes = self.expr(yes, &union(guards, &question.if_true), depth)?;
                let no = self.expr(no, &union(guards, &question.if_false), depth)?;
                let kind = either(yes.kind, no.kind)
                    .ok_or_else(|| wrong("?:", "two of one type", no.kind))?;
                rebuild(
                    expr,
                    call,
                    None,
                    vec![question.expr, yes.expr, no.expr],
                    kind,
                )
            }
            (_, None, [left, right]) if operator_text(name).is_some() => {
                let left = self.expr(left, guards, depth)?;
                let right = self.expr(right, guards, depth)?;
                let kind = binary(name, left.kind, right.kind)?;
                rebuild(expr, call, None, vec![left.expr, right.expr], kind)
            }
            ("size", None, [of]) => self.size(expr, of, guards, depth),
            ("size", Some(of), []) => self.size(expr, of, guards, depth),
            ("startsWith" | "endsWith" | "contains", Some(target), [argument]) => {
                let target = self.want(target, guards, depth, name, Scalar::Text)?;
                let argument = self.want(argument, guards, depth, name, Scalar::Text)?;
                rebuild(
                    expr,
                    call,
                    Some(target.expr),
                    vec![argument.expr],
                    Kind::One(Scalar::Bool),
                )
            }
            ("windowTotal", Some(target), [argument])
                if dotted(target).as_deref() == Some(&["facts"]) =>
            {
                let Expr::Literal(LiteralValue::String(meter)) = &argument.expr else {
                    return Err(WhenError::Foreign(
                        "a meter's name that is not a quoted text".to_owned(),
                    ));
                };
                self.slot(expr, Slot::WindowTotal(meter.inner().to_owned()), guards)
            }
            _ => Err(WhenError::Foreign(match operator_text(name) {
                Some(operator) => format!("`{operator}` used like this"),
                None => format!("`{}` used like this", excerpt(name)),
            })),
        }
    }

    /// `&&` and `||`: what the left side proves holds while the right one is asked.
    fn logic(
        &mut self,
        expr: &'a IdedExpr,
        call: &'a CallExpr,
        (left, right): (&'a IdedExpr, &'a IdedExpr),
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let is_and = call.func_name == operators::LOGICAL_AND;
        let sign = if is_and { "&&" } else { "||" };
        let left = self.want(left, guards, depth, sign, Scalar::Bool)?;
        let known = union(
            guards,
            // Seeded: `||` is taken to prove what `&&` proves.
            if is_and || crate::SEEDED_BUGS {
                &left.if_true
            } else {
                &left.if_false
            },
        );
        let right = self.want(right, &known, depth, sign, Scalar::Bool)?;
        let both = |left: &Guards, right: &Guards| left.intersection(right).cloned().collect();
        let (if_true, if_false) = match is_and {
            true => (
                union(&left.if_true, &right.if_true),
                both(&left.if_false, &right.if_false),
            ),
            false => (
                both(&left.if_true, &right.if_true),
                union(&left.if_false, &right.if_false),
            ),
        };
        let rebuilt = rebuild(
            expr,
            call,
            None,
            vec![left.expr, right.expr],
            Kind::One(Scalar::Bool),
        )?;
        Ok(Typed {
            if_true,
            if_false,
            ..rebuilt
        })
    }

    fn size(
        &mut self,
        expr: &IdedExpr,
        of: &'a IdedExpr,
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let of = self.expr(of, guards, depth)?;
        if matches!(of.kind, Kind::One(Scalar::Bool | Scalar::Int)) {
            return Err(wrong("size", "a string or a list", of.kind));
        }
        let call = CallExpr {
            func_name: "size".to_owned(),
            target: None,
            args: vec![of.expr],
        };
        typed(expr, Kind::One(Scalar::Int), Expr::Call(call))
    }

    fn list(
        &mut self,
        expr: &IdedExpr,
        list: &'a ListExpr,
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let count = list.elements.len();
        if count == 0 || count > ELEMENTS_MAX {
            return Err(WhenError::Elements(count));
        }
        if !list.optional_indices.is_empty() {
            return Err(WhenError::Foreign("an optional element".to_owned()));
        }
        let (mut elements, mut kind) = (Vec::with_capacity(count), None);
        for element in &list.elements {
            let element = self.expr(element, guards, depth)?;
            let Kind::One(scalar) = element.kind else {
                return Err(wrong("[ ]", "single values", element.kind));
            };
            if kind.replace(scalar).is_some_and(|before| before != scalar) {
                return Err(wrong("[ ]", "values of one type", element.kind));
            }
            elements.push(element.expr);
        }
        let scalar = kind.ok_or(WhenError::Elements(count))?;
        typed(
            expr,
            Kind::List(scalar, count),
            Expr::List(ListExpr::new(elements)),
        )
    }

    /// What the macros `all`, `exists` and `exists_one` expand to, and nothing else of that form.
    fn comprehension(
        &mut self,
        expr: &IdedExpr,
        comprehension: &'a ComprehensionExpr,
        guards: &Guards,
        depth: usize,
    ) -> Result<Typed, WhenError> {
        let at = predicate_index(comprehension)
            .ok_or_else(|| WhenError::Foreign("`map` or `filter`".to_owned()))?;
        let variable = comprehension.iter_var.as_str();
        if ROOTS.contains(&variable) {
            return Err(WhenError::Foreign(format!(
                "`{variable}` as the name of an element"
            )));
        }
        let range = self.expr(&comprehension.iter_range, guards, depth)?;
        let Kind::List(scalar, count) = range.kind else {
            return Err(wrong("all, exists", "a list", range.kind));
        };
        if self.variable.is_some() {
            return Err(WhenError::Nested);
        }
        let Expr::Call(step) = &comprehension.loop_step.expr else {
            return Err(WhenError::Engine);
        };
        let predicate = step.args.get(at).ok_or(WhenError::Engine)?;
        self.variable = Some((variable, scalar));
        self.per_node = count;
        let predicate = self.want(predicate, guards, depth, "all, exists", Scalar::Bool);
        self.variable = None;
        self.per_node = 1;
        let mut step = step.clone();
        if let Some(argument) = step.args.get_mut(at) {
            *argument = predicate?.expr;
        }
        let mut rebuilt = comprehension.clone();
        rebuilt.iter_range = range.expr;
        rebuilt.loop_step.expr = Expr::Call(step);
        typed(
            expr,
            Kind::One(Scalar::Bool),
            Expr::Comprehension(Box::new(rebuilt)),
        )
    }

    /// An expression that has to be of one type.
    fn want(
        &mut self,
        expr: &'a IdedExpr,
        guards: &Guards,
        depth: usize,
        at: &str,
        scalar: Scalar,
    ) -> Result<Typed, WhenError> {
        let found = self.expr(expr, guards, depth)?;
        if found.kind == Kind::One(scalar) {
            Ok(found)
        } else {
            Err(wrong(at, Kind::One(scalar).name(), found.kind))
        }
    }
}

/// The argument of the loop's step that the author wrote, by the shape of the expansion.
fn predicate_index(comprehension: &ComprehensionExpr) -> Option<usize> {
    let Expr::Call(step) = &comprehension.loop_step.expr else {
        return None;
    };
    let Expr::Literal(start) = &comprehension.accu_init.expr else {
        return None;
    };
    if comprehension.iter_var2.is_some() {
        return None;
    }
    match (start, step.func_name.as_str()) {
        (LiteralValue::Boolean(_), operators::LOGICAL_AND | operators::LOGICAL_OR) => Some(1),
        (LiteralValue::Int(_), operators::CONDITIONAL) => Some(0),
        _ => None,
    }
}

fn literal_kind(literal: &LiteralValue) -> Result<Kind, WhenError> {
    let foreign = |what: &str| Err(WhenError::Foreign(what.to_owned()));
    match literal {
        LiteralValue::Boolean(_) => Ok(Kind::One(Scalar::Bool)),
        LiteralValue::Int(_) => Ok(Kind::One(Scalar::Int)),
        LiteralValue::String(_) => Ok(Kind::One(Scalar::Text)),
        LiteralValue::UInt(_) => foreign("an unsigned number"),
        LiteralValue::Double(_) => foreign("a number with a decimal point"),
        LiteralValue::Bytes(_) => foreign("a bytes literal"),
        LiteralValue::Null => foreign("`null`"),
    }
}

/// Type of a binary operator's result.
fn binary(name: &str, left: Kind, right: Kind) -> Result<Kind, WhenError> {
    let at = operator_text(name).unwrap_or(name);
    let (fits, want, result) = match name {
        operators::ADD
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO => (
            [left, right]
                .iter()
                .all(|kind| *kind == Kind::One(Scalar::Int)),
            "two ints",
            Scalar::Int,
        ),
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => {
            let ordered = matches!(left, Kind::One(Scalar::Int | Scalar::Text));
            (
                ordered && left == right,
                "two ints or two strings",
                Scalar::Bool,
            )
        }
        operators::IN => {
            let fits = matches!((left, right), (Kind::One(one), Kind::List(of, _)) if one == of);
            (fits, "a list of the type before it", Scalar::Bool)
        }
        _ => (
            matches!(left, Kind::One(_)) && left == right,
            "two single values of one type",
            Scalar::Bool,
        ),
    };
    if fits {
        Ok(Kind::One(result))
    } else {
        Err(wrong(
            at,
            want,
            if name == operators::IN {
                right
            } else {
                odd(left, right)
            },
        ))
    }
}

/// The side to name in an error: the right one, unless it is the left one that no operator takes.
fn odd(left: Kind, right: Kind) -> Kind {
    if matches!(left, Kind::List(..)) || left == Kind::One(Scalar::Bool) {
        left
    } else {
        right
    }
}

fn either(left: Kind, right: Kind) -> Option<Kind> {
    match (left, right) {
        (Kind::List(a, some), Kind::List(b, more)) if a == b => Some(Kind::List(a, some.max(more))),
        _ => (left == right).then_some(left),
    }
}

/// `a.b.c` as its parts.
fn dotted(expr: &IdedExpr) -> Option<Vec<&str>> {
    let (mut parts, mut expr) = (Vec::new(), &expr.expr);
    loop {
        match expr {
            Expr::Ident(name) => {
                parts.push(name.as_str());
                parts.reverse();
                return Some(parts);
            }
            Expr::Select(select) if !select.test => {
                parts.push(select.field.as_str());
                expr = &select.operand.expr;
            }
            _ => return None,
        }
    }
}

/// The sign of a binary operator that takes two values, as it is written.
fn operator_text(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::IN => "in",
        _ => return None,
    })
}

fn typed(at: &IdedExpr, kind: Kind, expr: Expr) -> Result<Typed, WhenError> {
    let expr = IdedExpr { id: at.id, expr };
    Ok(Typed {
        kind,
        expr,
        if_true: Guards::new(),
        if_false: Guards::new(),
    })
}

fn rebuild(
    at: &IdedExpr,
    call: &CallExpr,
    target: Option<IdedExpr>,
    args: Vec<IdedExpr>,
    kind: Kind,
) -> Result<Typed, WhenError> {
    let call = CallExpr {
        func_name: call.func_name.clone(),
        target: target.map(Box::new),
        args,
    };
    typed(at, kind, Expr::Call(call))
}

fn union(left: &Guards, right: &Guards) -> Guards {
    left.union(right).cloned().collect()
}

fn wrong(at: &str, want: &'static str, found: Kind) -> WhenError {
    WhenError::Type {
        at: at.to_owned(),
        want,
        found: found.name(),
    }
}

/// First parts of the names a condition knows; an element of a list cannot be called like one.
const ROOTS: [&str; 4] = ["attributes", "action", "facts", "hints"];
