# Debian's libraries (deploy/packages lists them with their reasons).
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_package(gRPC REQUIRED)
find_package(spdlog REQUIRED)
find_package(GTest REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(HWY REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc)  # Tests only.
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(RocksDB REQUIRED)
find_package(yaml-cpp REQUIRED)
pkg_check_modules(simdjson REQUIRED IMPORTED_TARGET simdjson)
pkg_check_modules(editd_re2 REQUIRED IMPORTED_TARGET re2)  # Not "re2": gRPC looks for that itself.
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_program(EDITD_PROTOC protoc REQUIRED)
find_program(EDITD_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)

# editd_link_archives(TARGET ARCHIVES ...): puts gRPC, protobuf and abseil into a program. One that is started for every
# small thing spends more time on sixty shared libraries than on its work: `editctl --help` takes 11 ms of processor time
# with them, 4 ms without. gRPC comes without TLS, which a unix socket has no use for. ARCHIVES are the target's libraries
# of ours that use these, users first. Not in a sanitizer's build, whose suppressions name the shared libraries.
pkg_check_modules(editd_grpc_archives REQUIRED QUIET grpc++_unsecure)
function(editd_link_archives target)
  cmake_parse_arguments(ARG "" "" "ARCHIVES" ${ARGN})
  if(NOT EDITD_BUILD STREQUAL "release" AND NOT EDITD_BUILD STREQUAL "debug")
    return()
  endif()
  set(names ${editd_grpc_archives_STATIC_LIBRARIES} protobuf upb cares address_sorting re2 z yaml-cpp)
  list(REMOVE_DUPLICATES names)
  list(REMOVE_ITEM names atomic rt)
  set(archives)
  foreach(name ${names})
    find_library(archive lib${name}.a REQUIRED NO_CACHE)
    list(APPEND archives ${archive})
    unset(archive)
  endforeach()
  list(JOIN archives "," archives)
  # Of the shared libraries, which come after them, nothing is left to be taken.
  target_link_libraries(${target} PRIVATE ${ARG_ARCHIVES} $<LINK_GROUP:RESCAN,${archives}>)
  target_link_options(${target} PRIVATE -Wl,--as-needed)
  add_custom_command(TARGET ${target} POST_BUILD VERBATIM
    COMMAND sh -c "! objdump -p \"$1\" | grep -E 'NEEDED +lib(grpc|gpr|protobuf|absl)'" check $<TARGET_FILE:${target}>)
endfunction()
