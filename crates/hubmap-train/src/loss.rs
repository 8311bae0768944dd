//! What training minimises: a weighted sum of terms.

mod cross_entropy;
mod dice;
mod lovasz;

use burn::tensor::{Int, Tensor, TensorData};

pub use cross_entropy::{bce_with_logits, edge_bce_with_logits, focal_with_logits, soft_bce_with_logits};
pub use dice::dice_loss;
pub use lovasz::symmetric_lovasz_hinge;

use crate::config::LossConfig;
use cross_entropy::bce_per_sample;

/// A term of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossTerm {
    /// [`bce_with_logits`].
    Bce,
    /// [`dice_loss`].
    Dice,
    /// [`soft_bce_with_logits`].
    SoftBce,
    /// [`focal_with_logits`].
    Focal,
    /// [`symmetric_lovasz_hinge`].
    Lovasz,
    /// [`edge_bce_with_logits`].
    EdgeBce,
}

impl LossTerm {
    /// All terms.
    pub const ALL: [Self; 6] =
        [Self::Bce, Self::Dice, Self::SoftBce, Self::Focal, Self::Lovasz, Self::EdgeBce];

    /// The term's key in the config, which is also its name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bce => "bce",
            Self::Dice => "dice",
            Self::SoftBce => "soft_bce",
            Self::Focal => "focal",
            Self::Lovasz => "lovasz",
            Self::EdgeBce => "edge_bce",
        }
    }

    /// The term for logits and targets `[n, 1, h, w]`.
    fn of(self, logits: Tensor<4>, target: Tensor<4>, config: &LossConfig) -> Tensor<1> {
        match self {
            Self::Bce => bce_with_logits(logits, target),
            Self::Dice => dice_loss(logits, target),
            Self::SoftBce => soft_bce_with_logits(logits, target, config.smoothing),
            Self::Focal => focal_with_logits(logits, target, config.focal_gamma),
            Self::Lovasz => symmetric_lovasz_hinge(&logits, &target),
            Self::EdgeBce => edge_bce_with_logits(logits, target, config.edge_px, config.edge_weight),
        }
    }
}

/// The terms of the loss and their weighted sum, each of shape `[1]`.
#[derive(Debug, Clone)]
pub struct LossTerms {
    /// The terms whose weight is not 0, unweighted.
    pub terms: Vec<(LossTerm, Tensor<1>)>,
    /// What is minimised.
    pub total: Tensor<1>,
}

impl LossTerms {
    /// The loss of logits `[n, 1, h, w]` against targets of the same shape in `[0, 1]`.
    pub fn new(logits: &Tensor<4>, target: &Tensor<4>, config: &LossConfig) -> Self {
        let (logits, target) = if config.hardest < 1.0 {
            let hardest = hardest_samples(logits, target, config.hardest);
            (logits.clone().select(0, hardest.clone()), target.clone().select(0, hardest))
        } else {
            (logits.clone(), target.clone())
        };
        let terms: Vec<_> = LossTerm::ALL
            .into_iter()
            .filter(|&term| config.weight(term) != 0.0)
            .map(|term| (term, term.of(logits.clone(), target.clone(), config)))
            .collect();
        let zero = Tensor::zeros([1], &logits.device());
        let total = terms
            .iter()
            .fold(zero, |sum, (term, value)| sum.add(value.clone().mul_scalar(config.weight(*term))));
        Self { terms, total }
    }
}

/// Places in the batch of the given share of its samples, at least one, that have the largest mean cross-entropy.
///
/// Selective back-propagation (Jiang et al., 2019), without its sampling: the hardest always count.
fn hardest_samples(logits: &Tensor<4>, target: &Tensor<4>, share: f64) -> Tensor<1, Int> {
    let device = logits.device();
    let [n, ..] = logits.dims();
    let losses = bce_per_sample(logits.clone().detach(), target.clone().detach()).into_data();
    let losses: Vec<f32> = losses.iter().collect();
    let n_hardest = ((n as f64 * share).round() as usize).clamp(1, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
    order.truncate(n_hardest);
    order.sort_unstable();
    let places: Vec<i64> = order.into_iter().map(|place| place as i64).collect();
    Tensor::from_data(TensorData::new(places, [n_hardest]), &device)
}
