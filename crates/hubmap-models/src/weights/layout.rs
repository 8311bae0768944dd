//! Whose naming a file of weights follows, told from the names alone.

/// Naming of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsNaming {
    /// SMP today: `encoder.model.s1…`, `decoder.…`, `segmentation_head.…`.
    Smp,
    /// SMP up to 0.3: the encoder's tensors are `encoder.s1…`.
    OldSmp,
    /// timm: an encoder alone, `s1…`, with or without the classifier `head.fc`.
    Timm,
    /// None of these.
    Unknown,
}

impl std::fmt::Display for WeightsNaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Smp => "SMP (encoder.model.s1…)",
            Self::OldSmp => "SMP up to 0.3 (encoder.s1…)",
            Self::Timm => "timm encoder (s1…)",
            Self::Unknown => "unknown",
        })
    }
}

/// How the names in a file become SMP's names of today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsLayout {
    /// Naming under what follows.
    pub naming: WeightsNaming,
    /// Key of a checkpoint under which the weights are, such as `model_state`.
    pub checkpoint_key: Option<String>,
    /// What all names begin with, such as `module.` of data-parallel training.
    pub prefix: String,
    /// Whether an encoder comes with its classifier.
    pub has_classifier: bool,
}

/// Keys under which training programs put the weights of the network, the original's first.
const CHECKPOINT_KEYS: [&str; 4] = ["model_state", "model_state_dict", "state_dict", "model"];
/// What wrappers around a network put before its names: data parallelism, `torch.compile`, Lightning.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

impl WeightsLayout {
    /// The layout of a file with these names.
    ///
    /// A checkpoint may hold tensors beside the weights, such as an optimiser's; only with `is_checkpoint`
    /// is a checkpoint key looked for.
    pub(super) fn detect(names: &[&str], is_checkpoint: bool) -> Self {
        let in_key = |key: &str, name: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        let checkpoint_key = CHECKPOINT_KEYS
            .iter()
            .find(|key| is_checkpoint && names.iter().any(|name| in_key(key, name)))
            .map(|&key| key.to_owned());
        let mut layout = Self {
            naming: WeightsNaming::Unknown,
            checkpoint_key,
            prefix: String::new(),
            has_classifier: false,
        };
        let mut names: Vec<&str> = names.iter().filter_map(|name| layout.inside(name)).collect();
        let shared = |names: &[&str]| {
            let is_shared = |prefix: &&str| names.iter().all(|name| name.starts_with(prefix));
            PREFIXES.into_iter().find(is_shared).filter(|_| !names.is_empty())
        };
        while let Some(prefix) = shared(&names) {
            layout.prefix.push_str(prefix);
            for name in &mut names {
                *name = name.strip_prefix(prefix).unwrap_or(name);
            }
        }
        let any = |start: &str| names.iter().any(|name| name.starts_with(start));
        layout.has_classifier = any("head.");
        layout.naming = if any("encoder.model.") {
            WeightsNaming::Smp
        } else if any("encoder.") {
            WeightsNaming::OldSmp
        } else if any("decoder.") || any("segmentation_head.") {
            WeightsNaming::Smp
        } else if any("stem.") || any("s1.") {
            WeightsNaming::Timm
        } else {
            WeightsNaming::Unknown
        };
        layout
    }

    /// The part of a name after the checkpoint key; `None` for tensors beside the weights.
    fn inside<'a>(&self, name: &'a str) -> Option<&'a str> {
        match &self.checkpoint_key {
            Some(key) => name.strip_prefix(key.as_str())?.strip_prefix('.'),
            None => Some(name),
        }
    }

    /// A name of the file in SMP's naming of today; `None` for tensors beside the weights.
    ///
    /// Different names stay different.
    pub(super) fn canonical(&self, name: &str) -> Option<String> {
        let inside = self.inside(name)?;
        let bare = inside.strip_prefix(self.prefix.as_str()).unwrap_or(inside);
        Some(match (self.naming, bare.strip_prefix("encoder.")) {
            (WeightsNaming::OldSmp, Some(rest)) => format!("encoder.model.{rest}"),
            (WeightsNaming::Timm, _) if !bare.starts_with("head.") => format!("encoder.model.{bare}"),
            _ => bare.to_owned(),
        })
    }
}

impl std::fmt::Display for WeightsLayout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.naming)?;
        if self.naming == WeightsNaming::Timm {
            f.write_str(if self.has_classifier { " with classifier" } else { " without classifier" })?;
        }
        if let Some(key) = &self.checkpoint_key {
            write!(f, ", under {key}")?;
        }
        if !self.prefix.is_empty() {
            write!(f, ", prefix {}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of names, and the first of them in today's naming.
    fn detect(names: &[&str]) -> (WeightsLayout, String) {
        let layout = WeightsLayout::detect(names, true);
        let canonical = layout.canonical(names[0]).unwrap_or_default();
        (layout, canonical)
    }

    #[test]
    fn every_layout_becomes_todays_naming() {
        let today = "encoder.model.s1.b1.conv1.bn.bias";
        for (name, naming) in [
            ("encoder.model.s1.b1.conv1.bn.bias", WeightsNaming::Smp),
            ("module.encoder.model.s1.b1.conv1.bn.bias", WeightsNaming::Smp),
            ("encoder.s1.b1.conv1.bn.bias", WeightsNaming::OldSmp),
            ("module.encoder.s1.b1.conv1.bn.bias", WeightsNaming::OldSmp),
            ("model_state.module.encoder.s1.b1.conv1.bn.bias", WeightsNaming::OldSmp),
            ("state_dict.model.encoder.model.s1.b1.conv1.bn.bias", WeightsNaming::Smp),
            ("_orig_mod.module.encoder.model.s1.b1.conv1.bn.bias", WeightsNaming::Smp),
            ("s1.b1.conv1.bn.bias", WeightsNaming::Timm),
            ("model_state.s1.b1.conv1.bn.bias", WeightsNaming::Timm),
        ] {
            let (layout, canonical) = detect(&[name]);
            assert_eq!((layout.naming, canonical.as_str()), (naming, today), "{name}");
        }
    }

    #[test]
    fn tensors_beside_the_weights_are_left_out() {
        let names = ["model_state.encoder.s1.b1.conv1.bn.bias", "opt_state.state.0.exp_avg", "loss"];
        let (layout, _) = detect(&names);
        assert_eq!(layout.canonical("loss"), None);
        assert_eq!(layout.canonical("opt_state.state.0.exp_avg"), None);
        // In a safetensors file every tensor counts.
        let layout = WeightsLayout::detect(&names, false);
        assert_eq!(layout.canonical("loss").as_deref(), Some("loss"));
    }

    #[test]
    fn a_prefix_counts_only_if_all_names_have_it() {
        let (layout, canonical) = detect(&["module.encoder.s1.x", "encoder.s1.x"]);
        assert_eq!((layout.prefix.as_str(), canonical.as_str()), ("", "module.encoder.s1.x"));
    }

    #[test]
    fn a_classifier_is_no_part_of_the_encoder() {
        let (layout, _) = detect(&["s1.b1.conv1.bn.bias", "head.fc.weight"]);
        assert!(layout.has_classifier);
        assert_eq!(layout.canonical("head.fc.weight").as_deref(), Some("head.fc.weight"));
    }

    #[test]
    fn mixed_namings_do_not_meet_in_one_name() {
        let (layout, _) = detect(&["encoder.s1.x", "encoder.model.s1.x"]);
        assert_eq!(layout.canonical("encoder.s1.x").as_deref(), Some("encoder.s1.x"));
        assert_eq!(layout.canonical("encoder.model.s1.x").as_deref(), Some("encoder.model.s1.x"));
    }
}
