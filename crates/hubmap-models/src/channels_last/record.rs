//! Operations of ours in the graph of Burn's autodiff.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// A step backward: from the gradient of the output to those of the inputs that want one.
pub(super) trait Step<B: Backend>: Clone + Send + std::fmt::Debug + 'static {
    /// Gradients of the inputs in their order, of those that are wanted, then those of [`others`](Self::others).
    fn gradients(self, gradient: FloatTensor<B>, wanted: &[bool]) -> Vec<Option<FloatTensor<B>>>;

    /// Leaves of Burn's graph that are no inputs of the operation and yet have gradients.
    ///
    /// The number of inputs is part of an operation's type, and a network has hundreds.
    fn others(&self) -> Vec<NodeId> {
        Vec::new()
    }
}

/// What Burn keeps of an operation with `N` inputs.
#[derive(Debug)]
struct Node<S>(std::marker::PhantomData<fn() -> S>);

impl<B: Backend, S: Step<B>, const N: usize> Backward<B, N> for Node<S> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let others = ops.state.others();
        let found = ops.state.gradients(gradient, &wanted);
        let parents = ops.parents.into_iter().map(|parent| parent.map(|parent| parent.id));
        for (node, gradient) in parents.chain(others.into_iter().map(Some)).zip(found) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node, gradient);
            }
        }
    }
}

type Tracked<B> = FloatTensor<Autodiff<B, NoCheckpointing>>;

/// Enters an operation into the graph; `compute` makes its output and the step backward.
pub(super) fn record<B: Backend, S: Step<B>, const N: usize>(
    inputs: [Tracked<B>; N],
    compute: impl FnOnce(Vec<FloatTensor<B>>) -> (FloatTensor<B>, S),
) -> Tracked<B> {
    let nodes = inputs.each_ref().map(Tracked::<B>::node);
    let values = inputs.into_iter().map(Tracked::<B>::into_primitive).collect();
    let (output, step) = compute(values);
    let node = Node::<S>(std::marker::PhantomData);
    let prepared = Backward::<B, N>::prepare::<NoCheckpointing>(node, nodes);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(step, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// [`record`] for a number of inputs that is known at run time.
pub(super) fn record_all<B: Backend, S: Step<B>>(
    inputs: Vec<Tracked<B>>,
    compute: impl FnOnce(Vec<FloatTensor<B>>) -> (FloatTensor<B>, S),
) -> Tracked<B> {
    /// Inputs as an array of one of the lengths.
    macro_rules! by_length {
        ($($n:literal)+) => {
            match inputs.len() {
                $($n => match <[Tracked<B>; $n]>::try_from(inputs) {
                    Ok(inputs) => record(inputs, compute),
                    Err(inputs) => unreachable!("{} inputs", inputs.len()),
                },)+
                n => panic!("an operation of {n} inputs has no gradient"),
            }
        };
    }
    by_length!(1 2 3 4 5 6 7 8)
}
