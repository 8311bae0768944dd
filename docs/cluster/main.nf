// Inference in Nextflow: each task predicts a part of a list, and the last joins them.
//
//   nextflow run main.nf --model model --manifest slides.csv --out results --parts 16
//
// Tasks write into one folder that all of them see. A task that was killed or had too little memory (71, 134, 137) is
// tried again, with more of it, and so is one that was interrupted (75, 143); it goes on where it was. A broken input
// (65) is not tried again; with -resume, tasks that are done are not run again, and those that are run again skip
// the slides that are done.
nextflow.enable.dsl = 2

params.model = null
params.manifest = null
params.out = null
params.parts = 1

process infer {
    cpus 4
    memory { 4.GB * task.attempt }
    errorStrategy { task.exitStatus in [71, 75, 134, 137, 143] ? 'retry' : 'finish' }
    maxRetries 3

    input:
    val part

    output:
    val part

    script:
    """
    hubmap-infer --model '${file(params.model)}' --manifest '${file(params.manifest)}' --out '${file(params.out)}' \
        --shard ${part}/${params.parts} --threads ${task.cpus} --json
    """
}

process merge {
    input:
    val parts

    script:
    """
    hubmap-merge --manifest '${file(params.manifest)}' --out '${file(params.out)}' --json
    """
}

workflow {
    if (!params.model || !params.manifest || !params.out) {
        error '--model, --manifest and --out are needed'
    }
    merge(infer(channel.of(0..<(params.parts as int))).collect())
}
