//! Transforms by name, as they stand in the table `[data.transforms]`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Choice, Step, Transform};

/// Lists of steps by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transforms(BTreeMap<String, Vec<Step>>);

impl Transforms {
    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The transform of a name, with what it applies by name in its place; crops and reductions that state no size
    /// take `crop_px`.
    ///
    /// # Errors
    ///
    /// An unknown name (the message lists the known ones and the nearest), a transform that applies itself, directly
    /// or through others, or an invalid step.
    pub fn resolve(&self, name: &str, crop_px: u32) -> Result<Transform> {
        let steps = self.steps(name, crop_px, &mut Vec::new())?;
        Transform::new(steps).with_context(|| format!("transform `{name}`"))
    }

    /// The resolved steps of `name`; `above` are the transforms that led to it.
    fn steps<'a>(&'a self, name: &'a str, crop_px: u32, above: &mut Vec<&'a str>) -> Result<Vec<Step>> {
        let steps = self.0.get(name).with_context(|| self.unknown(name))?;
        ensure!(!above.contains(&name), "transform `{name}` applies itself: {} > {name}", above.join(" > "));
        above.push(name);
        let steps = steps.iter().map(|step| self.resolved(step, crop_px, above)).collect();
        above.pop();
        steps
    }

    fn resolved<'a>(&'a self, step: &'a Step, crop_px: u32, above: &mut Vec<&'a str>) -> Result<Step> {
        Ok(match step {
            Step::CenterCrop { size_px: None } => Step::CenterCrop { size_px: Some(crop_px) },
            Step::RandomCrop { size_px: None } => Step::RandomCrop { size_px: Some(crop_px) },
            Step::Resize { size_px: None } => Step::Resize { size_px: Some(crop_px) },
            Step::Apply { p, transform } => {
                Step::Group { p: *p, steps: self.steps(transform, crop_px, above)? }
            }
            Step::Group { p, steps } => {
                let steps = steps.iter().map(|step| self.resolved(step, crop_px, above));
                Step::Group { p: *p, steps: steps.collect::<Result<_>>()? }
            }
            Step::OneOf { p, choices } => {
                let choices = choices.iter().map(|choice| {
                    Ok(Choice { weight: choice.weight, step: self.resolved(&choice.step, crop_px, above)? })
                });
                Step::OneOf { p: *p, choices: choices.collect::<Result<_>>()? }
            }
            other => other.clone(),
        })
    }

    fn unknown(&self, name: &str) -> String {
        let nearest = self
            .names()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        match nearest {
            Some(nearest) => {
                let known = self.names().collect::<Vec<_>>().join(", ");
                format!("there is no transform `{name}`; did you mean `{nearest}`? Known are {known}")
            }
            None => format!("there is no transform `{name}`: none is defined"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transforms(text: &str) -> Transforms {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str, name: &str) -> String {
        format!("{:#}", transforms(text).resolve(name, 64).unwrap_err())
    }

    #[test]
    fn names_are_replaced_by_their_steps_and_sizes_filled_in() {
        let transforms = transforms(
            r#"
            turn = [{ kind = "quarter_turn", p = 0.5 }]
            all = [
                { kind = "one_of", p = 1.0, choices = [
                    { weight = 1.0, step = { kind = "random_crop" } },
                    { weight = 2.0, step = { kind = "center_crop", size_px = 7 } },
                ] },
                { kind = "group", p = 0.3, steps = [{ kind = "apply", p = 0.2, transform = "turn" }, { kind = "resize" }] },
            ]
            "#,
        );
        let expected = vec![
            Step::OneOf {
                p: 1.0,
                choices: vec![
                    Choice { weight: 1.0, step: Step::RandomCrop { size_px: Some(64) } },
                    Choice { weight: 2.0, step: Step::CenterCrop { size_px: Some(7) } },
                ],
            },
            Step::Group {
                p: 0.3,
                steps: vec![
                    Step::Group { p: 0.2, steps: vec![Step::QuarterTurn { p: 0.5 }] },
                    Step::Resize { size_px: Some(64) },
                ],
            },
        ];
        assert_eq!(transforms.resolve("all", 64).unwrap().steps(), expected);
        let text = toml::to_string(&transforms).unwrap();
        assert_eq!(toml::from_str::<Transforms>(&text).unwrap(), transforms);
    }

    #[test]
    fn unknown_names_say_what_is_known() {
        let text = "light = []\nval = []";
        assert_eq!(
            error(text, "ligth"),
            "there is no transform `ligth`; did you mean `light`? Known are light, val"
        );
        assert_eq!(error("", "val"), "there is no transform `val`: none is defined");
        let nested = r#"a = [{ kind = "apply", p = 1.0, transform = "b" }]"#;
        assert_eq!(error(nested, "a"), "there is no transform `b`; did you mean `a`? Known are a");
    }

    #[test]
    fn a_transform_may_be_applied_twice_but_not_by_itself() {
        let apply = |name: &str| format!(r#"{{ kind = "apply", p = 1.0, transform = "{name}" }}"#);
        let twice = format!("a = [{b}, {b}]\nb = []", b = apply("b"));
        assert_eq!(transforms(&twice).resolve("a", 1).unwrap().steps().len(), 2);
        let circle = format!("a = [{}]\nb = [{}]", apply("b"), apply("a"));
        assert_eq!(error(&circle, "a"), "transform `a` applies itself: a > b > a");
    }

    #[test]
    fn invalid_steps_are_named_with_their_transform() {
        let text = r#"a = [{ kind = "center_crop" }, { kind = "flip", p = 1.5 }]"#;
        assert_eq!(error(text, "a"), "transform `a`: step 2: flip: probability 1.5 is not between 0 and 1");
    }
}
