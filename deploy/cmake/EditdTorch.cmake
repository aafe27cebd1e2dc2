# libtorch from the pinned PyPI wheel that deploy/bootstrap unpacks under build/deps.
#
# The wheel's own TorchConfig.cmake wants a CUDA toolkit, so the target is declared by hand. Only libtorch_cpu and libc10
# are linked; the CUDA library is loaded at run time where a job asks for it. Its include/fmt and include/google are left
# out when it is unpacked: they would shadow Debian's.
set(EDITD_TORCH_ROOT ${PROJECT_SOURCE_DIR}/build/deps/torch CACHE PATH "the unpacked torch wheel's torch folder")
if(EXISTS ${EDITD_TORCH_ROOT}/lib/libtorch_cpu.so)
  add_library(torch::cpu INTERFACE IMPORTED)
  target_include_directories(torch::cpu SYSTEM INTERFACE ${EDITD_TORCH_ROOT}/include
    ${EDITD_TORCH_ROOT}/include/torch/csrc/api/include)
  target_link_libraries(torch::cpu INTERFACE ${EDITD_TORCH_ROOT}/lib/libtorch_cpu.so ${EDITD_TORCH_ROOT}/lib/libc10.so)
  target_link_options(torch::cpu INTERFACE -Wl,--allow-shlib-undefined)
  # An installation brings them along, where libtorch_cpu.so looks for the two of NVIDIA's. Who links torch::cpu sets
  # INSTALL_RPATH to $ORIGIN/torch/lib (from lib/editd).
  get_filename_component(editd_torch_parent ${EDITD_TORCH_ROOT} DIRECTORY)
  install(FILES ${EDITD_TORCH_ROOT}/lib/libtorch_cpu.so ${EDITD_TORCH_ROOT}/lib/libc10.so ${EDITD_TORCH_ROOT}/lib/libgomp.so.1
    DESTINATION lib/editd/torch/lib)
  install(FILES ${editd_torch_parent}/nvidia/cu13/lib/libcudart.so.13 ${editd_torch_parent}/nvidia/cu13/lib/libcupti.so.13
    DESTINATION lib/editd/nvidia/cu13/lib)
  # What deploy/bootstrap cuda has put beside it.
  if(EXISTS ${EDITD_TORCH_ROOT}/lib/libtorch_cuda.so AND EXISTS ${editd_torch_parent}/nvidia/cudnn)
    install(FILES ${EDITD_TORCH_ROOT}/lib/libtorch_cuda.so ${EDITD_TORCH_ROOT}/lib/libc10_cuda.so
      ${EDITD_TORCH_ROOT}/lib/libtorch_nvshmem.so ${EDITD_TORCH_ROOT}/lib/libcaffe2_nvrtc.so DESTINATION lib/editd/torch/lib)
    install(DIRECTORY ${editd_torch_parent}/nvidia DESTINATION lib/editd)
  endif()
else()
  message(FATAL_ERROR "no libtorch under ${EDITD_TORCH_ROOT}; run deploy/bootstrap")
endif()
