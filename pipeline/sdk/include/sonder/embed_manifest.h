/* sonder/embed_manifest.h: puts a plugin's manifest into its library, where the host reads it before it runs any code.
 *
 *   #include "sonder/embed_manifest.h"
 *   SONDER_EMBED_MANIFEST("manifest.json")
 *
 * once, at file scope, in C or C++. The path is looked for from where the compiler runs, then in the folders of -Wa,-I. The
 * CMake function sonder_plugin() does this by itself. The section is kept by the linker and by strip, and is not loaded into
 * memory. */
#ifndef SONDER_EMBED_MANIFEST_H
#define SONDER_EMBED_MANIFEST_H

#define SONDER_EMBED_MANIFEST(path)                              \
  __asm__(".pushsection .sonder_manifest,\"R\",@progbits\n" \
          ".incbin \"" path "\"\n"                               \
          ".popsection\n");

#endif
