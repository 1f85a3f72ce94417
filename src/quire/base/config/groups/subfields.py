"""Fields of the JSON settings, with the defaults they have upstream. A field that is not here is an error."""

from __future__ import annotations

from typing import Any

# fmt: off
FIELDS: dict[str, dict[str, Any]] = {
    "SpeculativeConfig": {
        "method": None, "model": None, "num_speculative_tokens": None, "enforce_eager": None,
        "draft_tensor_parallel_size": None, "tensor_parallel_size": None, "quantization": None,
        "moe_backend": None, "attention_backend": None, "kv_cache_dtype": None, "max_model_len": None,
        "revision": None, "code_revision": None, "index_share_for_mtp_iteration": None,
        "disable_padded_drafter_batch": False, "disable_eagle_block_drop": False,
        "disable_lookahead_block_hashes": False, "draft_lm_head_quantization": None,
        "use_local_argmax_reduction": False, "use_heterogeneous_vocab": False, "prompt_lookup_max": None,
        "prompt_lookup_min": None, "parallel_drafting": False, "num_speculative_tokens_per_batch_size": None,
        "suffix_decoding_max_tree_depth": 24, "suffix_decoding_max_cached_requests": 10000,
        "suffix_decoding_max_spec_factor": 1.0, "suffix_decoding_min_token_prob": 0.1,
        "draft_load_config": None, "rejection_sample_method": "standard", "synthetic_acceptance_rates": None,
        "synthetic_acceptance_length": None, "enable_adaptive_verification": False,
        "draft_sample_method": "greedy", "dspark_draft_topk": None, "xpress_topc": None,
        "fly_window_size": None, "fly_entropy_threshold": 0.3, "fly_entropy_top_k": 3,
    },
    "CompilationConfig": {
        "mode": 3, "debug_dump_path": None, "cache_dir": "", "compile_cache_save_format": "binary",
        "backend": "inductor", "custom_ops": [], "ir_enable_torch_wrap": None, "splitting_ops": None,
        "compile_mm_encoder": False, "cudagraph_mm_encoder": False, "encoder_cudagraph_token_budgets": [],
        "encoder_cudagraph_max_images_per_batch": 0, "encoder_cudagraph_max_vision_items_per_batch": 0,
        "encoder_cudagraph_max_frames_per_batch": None, "cudagraph_decoder_replay": True,
        "decoder_replay_cudagraph_capture_sizes": [], "decoder_replay_trim_threshold": 768,
        "compile_sizes": None, "compile_ranges_endpoints": None,
        "inductor_compile_config": {"enable_auto_functionalized_v2": False, "combo_kernels": True,
        "benchmark_combo_kernel": True},
        "inductor_passes": {}, "cudagraph_mode": None, "cudagraph_num_of_warmups": 0,
        "cudagraph_capture_sizes": None, "cudagraph_copy_inputs": False, "cudagraph_specialize_lora": True,
        "use_inductor_graph_partition": None, "pass_config": {}, "max_cudagraph_capture_size": None,
        "dynamic_shapes_config": {"type": "backed", "evaluate_guards": False, "assume_32_bit_indexing": False},
        "local_cache_dir": None, "fast_moe_cold_start": None, "static_all_moe_layers": [],
    },
    "PassConfig": {
        "fuse_norm_quant": None, "fuse_act_quant": None, "fuse_attn_quant": None, "eliminate_noops": True,
        "fuse_allreduce_rms": None, "enable_qk_norm_rope_fusion": None, "fuse_rope_kvcache_cat_mla": None,
        "fuse_act_padding": None, "fuse_mla_dual_rms_norm": None, "fuse_rope_kvcache": None,
        "fuse_qk_norm_rope_kvcache": None, "rope_kvcache_fusion_max_token_num": 256,
        "fi_allreduce_fusion_max_size_mb": None,
    },
    "KVTransferConfig": {
        "kv_connector": None, "engine_id": None, "kv_buffer_device": None, "kv_role": None, "kv_port": 14579,
        "kv_connector_extra_config": {}, "kv_connector_module_path": None, "enable_permute_local_kv": False,
        "kv_load_failure_policy": "fail",
    },
    "KVEventsConfig": {
        "enable_kv_cache_events": False, "publisher": None, "endpoint": "tcp://127.0.0.1:5557",
        "replay_endpoint": None, "buffer_steps": 10000, "hwm": 100000, "max_queue_size": 100000, "topic": "",
    },
    "ECTransferConfig": {
        "ec_connector": None, "engine_id": None, "ec_buffer_device": "cuda", "ec_buffer_size": 1000000000.0,
        "ec_role": None, "ec_ip": "127.0.0.1", "ec_port": 14579, "ec_connector_extra_config": {},
        "ec_connector_module_path": None,
    },
    "EPLBConfig": {
        "window_size": 1000, "step_interval": 3000, "num_redundant_experts": 0, "log_balancedness": False,
        "log_balancedness_interval": 1, "use_async": False, "policy": "default", "communicator": None,
        "enable_migration_batching": False,
    },
    "PoolerConfig": {
        "task": None, "pooling_type": None, "seq_pooling_type": None, "tok_pooling_type": None,
        "use_activation": None, "enable_flash_late_interaction": True, "dimensions": None,
        "enable_chunked_processing": False, "max_embed_len": None, "logit_mean": None, "logit_sigma": None,
        "step_tag_id": None, "returned_token_ids": None,
    },
    "StructuredOutputsConfig": {
        "backend": "auto", "disable_any_whitespace": False, "disable_additional_properties": False,
        "reasoning_parser": "", "reasoning_parser_plugin": "", "enable_in_reasoning": False,
    },
    "ProfilerConfig": {
        "profiler": None, "torch_profiler_dir": "", "torch_profiler_with_stack": True,
        "torch_profiler_with_flops": False, "torch_profiler_use_gzip": True,
        "torch_profiler_dump_cuda_time_total": True, "torch_profiler_record_shapes": False,
        "torch_profiler_with_memory": False, "ignore_frontend": False, "delay_iterations": 0,
        "max_iterations": 0, "warmup_iterations": 0, "active_iterations": 5, "wait_iterations": 0,
        "torch_profiler_activities": None, "capture_torch_profiler": False, "detailed_trace_annotation": False,
        "proton_profiler_dir": "", "proton_context": "shadow", "proton_data": "tree", "proton_backend": None,
        "proton_mode": None, "proton_hook": None, "proton_output_format": None,
        "proton_graph_attribution": False,
    },
    "AttentionConfig": {
        "backend": None, "flash_attn_version": None, "use_prefill_decode_attention": False,
        "flash_attn_max_num_splits_for_cuda_graph": 32, "use_cudnn_prefill": False,
        "use_trtllm_ragged_deepseek_prefill": False, "use_trtllm_attention": None,
        "disable_flashinfer_prefill": True, "disable_flashinfer_q_quantization": False,
        "use_prefill_query_quantization": False, "mla_prefill_backend": None, "backend_per_kind": {},
        "minimax_m3_msa_decode_backend": "triton", "tokenspeed_mla_min_split_kv": 1,
        "tq_max_kv_splits_for_cuda_graph": 32, "trtllm_ragged_backend": "trtllm-gen",
        "indexer_kv_dtype": "auto", "indexer_sparse_logits": False, "indexer_tp_shard_min_rows": 65536,
        "minimax_m3_indexer_cp": False, "hisparse_config": None, "use_non_causal": False,
        "sparse_mla_force_mqa": False, "sparse_mla_prefill_workspace_factor": None, "flex_attn_block_m": None,
        "flex_attn_block_n": None, "flex_attn_q_block_size": None, "flex_attn_kv_block_size": None,
    },
    "KernelConfig": {
        "ir_op_priority": {"rms_norm": []}, "enable_flashinfer_autotune": None, "moe_backend": "auto",
        "linear_backend": "auto", "linear_backend_per_quant": None, "sparse_indexer_topk_backend": "auto",
        "enable_rocm_segmented_attn_autotune": False, "enable_cutedsl_warmup": True, "enable_jit_warmup": True,
        "monokernel": False,
    },
    "WeightTransferConfig": {
        "backend": "nccl",
    },
    "ReasoningConfig": {
        "reasoning_parser": "", "reasoning_start_str": "", "reasoning_end_str": "",
    },
    "IrOpPriorityConfig": {
        "rms_norm": [], "fused_add_rms_norm": [], "gelu_and_mul_sparse": [],
    },
}
# fmt: on

# fields that are objects with known fields themselves
NESTED = {
    "pass_config": FIELDS["PassConfig"],
    "ir_op_priority": FIELDS["IrOpPriorityConfig"],
}
